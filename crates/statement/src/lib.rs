//! Signed statements, the feed's chain, delegation tokens
