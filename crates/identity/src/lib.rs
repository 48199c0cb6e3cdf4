//! Names and ids: the workload principal, accounts, sessions, key thumbprints
