//! Setting or clearing a password: the one thing that is done because the user orders it, not because something is ill.

use sha_crypt::{PasswordHasher, ShaCrypt};
use sickbay_formats::accounts::{Kind, Password, with_line_added};
use sickbay_formats::lines;

use super::plan::Step;
use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::model::repair::{Change, Repair, Risk};
use crate::model::text::Text;
use crate::tr;

/// By what the order is known among repairs, and to `--only`.
pub const ID: &str = "reset-password";

/// The longest password that every libcrypt takes, in bytes (`KEY_MAX` of musl's crypt_sha512.c).
pub const LONGEST: usize = 256;

/// Bytes of salt: 16 characters in crypt(5)'s alphabet, the most that SHA-512 takes.
const SALT: usize = 12;

/// What is to become of whose password.
#[derive(Clone)]
pub struct Order {
    /// The account.
    pub user: String,
    /// The new field of shadow(5); empty for no password at all.
    field: String,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Order {
    /// A new password. Its hash is of SHA-512 with 5000 rounds, which every libcrypt since glibc 2.7 can verify, musl's
    /// too, and no policy calls weak.
    ///
    /// # Errors
    /// When it is empty, too long, or has characters in it that cannot be typed.
    pub fn set(user: &str, password: &str) -> Result<Order, Text> {
        if password.is_empty() {
            return Err(tr!("the password is empty: to have none, use --clear-password {user}", user));
        }
        if password.len() > LONGEST {
            return Err(tr!("the password is longer than {bytes} bytes", bytes = LONGEST));
        }
        if password.chars().any(char::is_control) {
            return Err(tr!("the password contains a control character, which nobody can type"));
        }
        let failed = |why: String| tr!("the password hash could not be computed: {why}", why);
        let salt = sickbay_target::random::<SALT>().map_err(|error| failed(error.to_string()))?;
        let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &salt);
        let field = hash.map_err(|error| failed(error.to_string()))?.as_str().to_owned();
        Ok(Order { user: user.to_owned(), field })
    }

    /// No password any more.
    pub fn clear(user: &str) -> Order {
        Order { user: user.to_owned(), field: String::new() }
    }

    /// An order to look at, whose password is not yet known.
    pub fn preview(user: &str) -> Order {
        Order { user: user.to_owned(), field: "$6$".to_owned() }
    }

    /// What carrying it out changes on the target as it is now.
    ///
    /// # Errors
    /// When there is no such account, or its files cannot be read.
    pub fn step(&self, facts: &Facts) -> Result<Step, Text> {
        let title = self.title();
        let changes = self.changes(facts)?;
        Ok(Step::ordered(ID, Repair { title, risk: Risk::Safe, changes }))
    }

    /// The order as a step that changes nothing, for a report of why it could not be carried out.
    pub fn nothing(&self) -> Step {
        Step::ordered(ID, Repair { title: self.title(), risk: Risk::Safe, changes: Vec::new() })
    }

    /// What it does.
    pub fn title(&self) -> Text {
        let user = self.user.as_str();
        if self.field.is_empty() {
            tr!("clear {user}'s password: anyone at the console can log in as {user}", user)
        } else {
            tr!("set {user}'s password", user)
        }
    }

    fn changes(&self, facts: &Facts) -> Result<Vec<Change>, Text> {
        let accounts = facts.get::<Accounts>().map_err(|skip| match skip {
            crate::model::outcome::Skip::NotApplicable(why) | crate::model::outcome::Skip::Unknown(why) => why,
        })?;
        let name = self.user.as_bytes();
        let passwd = accounts.parsed(Kind::Passwd);
        let (Some(file), Some(account)) = (accounts.file(Kind::Passwd), passwd.find(name)) else {
            let path = Kind::Passwd.path();
            return Err(tr!("there is no account {user} in {path}", user = self.user.as_str(), path));
        };
        let (field, mut changes) = (self.field.as_bytes(), Vec::new());
        let shadowed = Password::of(account.field(1)) == Password::Shadowed;
        // Systems without shadow(5) keep the hash in passwd(5).
        if !shadowed && accounts.file(Kind::Shadow).is_none() {
            let line = account.with_field(1, field);
            return Ok(vec![Change::edit(file, lines::with_line(&file.bytes, account.line, |_| Some(line)))]);
        }
        if !shadowed {
            let line = account.with_field(1, b"x");
            changes.push(Change::edit(file, lines::with_line(&file.bytes, account.line, |_| Some(line))));
        }
        // Days since 1970: with 0, a new password would be asked for at the first login; with an old one, soon.
        let today = (facts.now().as_second() / 86_400).to_string();
        let fresh = format!("{}:{}:{today}:0:99999:7:::", self.user, self.field);
        let Some(file) = accounts.file(Kind::Shadow) else {
            changes.push(Change::create(Kind::Shadow.path(), format!("{fresh}\n"), 0o600));
            return Ok(changes);
        };
        let shadow = accounts.parsed(Kind::Shadow);
        let text = match shadow.find(name) {
            Some(entry) => {
                let line = entry.with_field(1, field);
                let with_hash = lines::with_line(&file.bytes, entry.line, |_| Some(line));
                let parsed = sickbay_formats::accounts::AccountFile::parse(Kind::Shadow, &with_hash);
                let line = parsed.find(name).map(|entry| entry.with_field(2, today.as_bytes()));
                lines::with_line(&with_hash, entry.line, |_| line)
            }
            None => with_line_added(&file.bytes, fresh.as_bytes()),
        };
        changes.push(Change::edit(file, text));
        Ok(changes)
    }
}
