#![no_main]

use libfuzzer_sys::fuzz_target;
use tether_accountfile::{AccountFile, has_account_shape};

fuzz_target!(|data: &[u8]| {
    let _ = has_account_shape(data);
    if let Some(file) = AccountFile::read(data) {
        assert_ne!(file.uid, 0);
        assert_eq!(file.write().unwrap().as_bytes(), data);
    }
});
