//! How libpam goes through a stack (`_pam_dispatch_aux` in libpam/pam_dispatch.c), for modules of which it may not be known
//! for sure what they answer: every course that it can take is followed.

use std::collections::HashSet;

use sickbay_formats::pam::{Action, code};

/// A rule on its way.
#[derive(Clone, Debug)]
pub struct Step {
    /// How many substacks it is in.
    pub level: usize,
    /// What the module may answer, as numbers of [`sickbay_formats::pam::CODES`]; `None` for the line that begins a substack.
    pub answers: Option<Vec<usize>>,
    /// What is done after each answer.
    pub actions: Box<[Action; 32]>,
}

/// One way in which a stack can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Whether it lets the user in.
    pub lets_in: bool,
    /// The step that made it bad; `None` when it is good, or when no step said anything.
    pub culprit: Option<usize>,
    /// What it answers, a number of [`sickbay_formats::pam::CODES`].
    pub status: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Impression {
    Undefined,
    Good,
    Bad,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Mind {
    impression: Impression,
    status: usize,
    culprit: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    level_before: usize,
    mind: Mind,
    /// What was thought when the substack of each level began.
    saved: Vec<Mind>,
}

/// More courses than this are not followed; real stacks have a few dozen.
const STATES: usize = 20_000;

/// Every way in which the stack can end; `None` when there are too many courses. An empty stack refuses.
pub fn ends(steps: &[Step]) -> Option<HashSet<End>> {
    let nothing = Mind { impression: Impression::Undefined, status: code::PERM_DENIED, culprit: None };
    let mut all = HashSet::new();
    let mut seen = HashSet::new();
    let mut open = vec![State { at: 0, level_before: 0, mind: nothing.clone(), saved: vec![nothing] }];
    while let Some(mut state) = open.pop() {
        if !seen.insert(state.clone()) {
            continue;
        }
        if seen.len() > STATES {
            return None;
        }
        let Some(step) = steps.get(state.at) else {
            let Mind { impression, status, culprit } = state.mind;
            let lets_in = status == code::SUCCESS && impression == Impression::Good;
            all.insert(End { lets_in, culprit: culprit.filter(|_| !lets_in), status });
            continue;
        };
        let level = step.level;
        if state.level_before < level {
            state.saved.truncate(level);
            while state.saved.len() <= level {
                state.saved.push(state.mind.clone());
            }
        }
        state.level_before = level;
        match &step.answers {
            None => {
                state.at += 1;
                open.push(state);
            }
            Some(answers) => {
                open.extend(answers.iter().map(|answer| after(steps, step, state.clone(), *answer)));
            }
        }
    }
    Some(all)
}

fn after(steps: &[Step], step: &Step, mut state: State, answer: usize) -> State {
    let at = state.at;
    let level = step.level;
    let within = |at: usize, least: usize| steps.get(at + 1).is_some_and(|next| next.level >= least);
    let mut end = at;
    let make_bad = |mind: &mut Mind, status: usize| {
        if mind.impression != Impression::Bad {
            *mind = Mind { impression: Impression::Bad, status, culprit: Some(at) };
        }
    };
    let mut decided = false;
    match step.actions.get(answer).copied().unwrap_or(Action::Bad) {
        Action::Ignore => {}
        Action::Reset => {
            if let Some(saved) = state.saved.get(level) {
                state.mind = saved.clone();
            }
        }
        action @ (Action::Ok | Action::Done) => {
            let mind = &mut state.mind;
            if mind.impression == Impression::Undefined
                || (mind.impression == Impression::Good && mind.status == code::SUCCESS)
            {
                mind.impression = Impression::Good;
                mind.status = answer;
                mind.culprit = (answer != code::SUCCESS).then_some(at);
            }
            decided = action == Action::Done && mind.impression == Impression::Good;
        }
        action @ (Action::Bad | Action::Die) => {
            let status = if answer == code::IGNORE { code::PERM_DENIED } else { answer };
            make_bad(&mut state.mind, status);
            decided = action == Action::Die;
        }
        Action::Jump(count) => {
            let mut left = count;
            while left > 0 && within(end, level) {
                end += 1;
                // A substack counts as one rule.
                while within(end, level + 1) {
                    end += 1;
                }
                left -= 1;
            }
            if left > 0 {
                state.mind = Mind { impression: Impression::Bad, status: code::PERM_DENIED, culprit: Some(at) };
            }
        }
    }
    if decided {
        while within(end, level) {
            end += 1;
        }
    }
    state.at = end + 1;
    state
}

#[cfg(test)]
mod tests {
    use sickbay_formats::pam::{Control, Layout, rules};

    use super::*;

    /// Steps of rules whose module is named after what it answers; `>` before the rule puts it into a substack.
    fn stack(text: &str) -> Vec<Step> {
        text.lines()
            .map(|line| {
                let level = line.len() - line.trim_start_matches('>').len();
                let rule = rules(line.trim_start_matches('>').as_bytes(), Layout::Service).remove(0);
                let name = rule.module.unwrap().text.to_string();
                match rule.control {
                    Control::Actions(actions) => {
                        let answers = name
                            .split('|')
                            .map(|name| sickbay_formats::pam::CODES.iter().position(|code| *code == name).unwrap())
                            .collect();
                        Step { level, answers: Some(answers), actions }
                    }
                    _ => Step { level, answers: None, actions: Box::new([Action::Bad; 32]) },
                }
            })
            .collect()
    }

    fn only(text: &str) -> (bool, Option<usize>) {
        let ends: Vec<End> = ends(&stack(text)).unwrap().into_iter().collect();
        let [end] = ends.as_slice() else { panic!("{ends:?}") };
        (end.lets_in, end.culprit)
    }

    #[test]
    fn debians_primary_block() {
        let block = |answer: &str| {
            format!(
                "auth [success=1 default=ignore] {answer}\nauth requisite auth_err\nauth required success\nauth optional ignore"
            )
        };
        assert_eq!(only(&block("success")), (true, None));
        assert_eq!(only(&block("auth_err")), (false, Some(1)));
        assert_eq!(only(&block("module_unknown")), (false, Some(1)));
    }

    #[test]
    fn nothing_said_is_no() {
        assert_eq!(ends(&[]).unwrap().len(), 1);
        assert_eq!(only("auth optional ignore"), (false, None));
        assert_eq!(only("auth optional success"), (true, None));
        assert_eq!(only("auth sufficient auth_err\nauth required auth_err"), (false, Some(1)));
    }

    #[test]
    fn the_first_bad_one_is_named() {
        assert_eq!(
            only("auth required auth_err\nauth required perm_denied\nauth sufficient success"),
            (false, Some(0))
        );
        assert_eq!(only("auth requisite auth_err\nauth required success"), (false, Some(0)));
        assert_eq!(only("auth required auth_err\nauth [default=reset] success\nauth required success"), (true, None));
    }

    #[test]
    fn a_jump_beyond_the_end_is_bad() {
        assert_eq!(only("auth [success=2 default=bad] success\nauth required success"), (false, Some(0)));
        // Over the last rule alone it is not, but then nothing has said yes.
        assert_eq!(only("auth [success=1 default=bad] success\nauth required success"), (false, None));
    }

    #[test]
    fn done_and_die_end_their_substack_only() {
        let text = "auth substack x\n>auth sufficient success\n>auth required auth_err\nauth required success";
        assert_eq!(only(text), (true, None));
        let text = "auth required success\nauth substack x\n>auth requisite auth_err\n>auth required success\nauth required ignore";
        assert_eq!(only(text), (false, Some(2)));
        let text =
            "auth [success=1 default=bad] success\nauth substack x\n>auth required auth_err\nauth required success";
        assert_eq!(only(text), (true, None));
    }

    #[test]
    fn what_is_not_known_is_followed_both_ways() {
        let ends = ends(&stack("auth sufficient success|auth_err\nauth required auth_err")).unwrap();
        assert_eq!(ends.iter().filter(|end| end.lets_in).count(), 1);
        assert_eq!(ends.len(), 2);
    }
}
