//! SSH certificates that carry a delegation
