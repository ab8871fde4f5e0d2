//! d
/// d
pub fn why_not(_: &sickbay_target::Target, _: &sickbay_target::Target) -> Option<crate::text::Text> {
    None
}
