//! sudo_tether.so
