//! The rules of a cloud's security groups, from a file that the user gives.

use sickbay_formats::filter::group::Groups;

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// What was given.
#[derive(Debug)]
pub struct SecurityGroups {
    /// The rules.
    pub groups: Groups,
    /// The file's name.
    pub name: String,
}

impl Fact for SecurityGroups {
    fn gather(facts: &Facts) -> Result<SecurityGroups, Skip> {
        let Some((name, bytes)) = facts.security_groups() else {
            return Err(Skip::NotApplicable(tr!("no security group was given")));
        };
        match Groups::read(bytes) {
            Some(groups) => Ok(SecurityGroups { groups, name: name.to_owned() }),
            None => Err(Skip::Unknown(tr!(
                "{path} is no answer of DescribeSecurityGroupAttribute or describe-security-groups",
                path = name
            ))),
        }
    }
}
