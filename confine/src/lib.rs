//! tether-confine and tether-shell
