//! pam_tether.so
