//! Real throw-away hosts for tests
