//! The tether command
