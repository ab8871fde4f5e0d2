use super::*;

/// Made here by Debian's sysstat 12.6.1 while fio wrote.
const FILE: &[u8] = include_bytes!("../../../../sickbay/tests/collected/sa12");
