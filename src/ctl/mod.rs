//! stub
use crate::service::command::Command;
pub fn parse_rules(_text: &str) -> Result<Vec<(usize, Command)>, String> {
    Err("not yet".into())
}
