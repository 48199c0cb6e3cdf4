//! End-to-end scenarios on real hosts
