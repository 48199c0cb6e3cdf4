//! libnss_tether.so.2
