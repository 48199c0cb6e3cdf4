//! Audit records and the hash chain
