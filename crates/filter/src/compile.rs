//! From a policy to one program: a search over the call's number, so that each call costs about nine comparisons,
//! and the tests of arguments at its leaves.

use crate::Arch;
use crate::policy::{Action, Policy, Rule, Test};
use std::collections::BTreeMap;

/// One step of classic BPF (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub code: u16,
    /// How many steps to skip if a comparison holds.
    pub then: u8,
    /// How many if not.
    pub otherwise: u8,
    /// Its operand.
    pub k: u32,
}

/// Load a word of `seccomp_data`.
pub const LOAD: u16 = 0x20;
/// And with a constant.
pub const AND: u16 = 0x54;
/// Go on further down.
pub const JUMP: u16 = 0x05;
/// Is it equal?
pub const EQUAL: u16 = 0x15;
/// Is it greater or equal?
pub const GREATER_EQUAL: u16 = 0x35;
/// The answer.
pub const RETURN: u16 = 0x06;
/// Numbers from here on are x32's, another way to the same calls.
const X32: u32 = 0x4000_0000;

impl Step {
    const fn new(code: u16, k: u32) -> Self {
        Self { code, then: 0, otherwise: 0, k }
    }

    /// Its form in memory, little-endian.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.code.to_le_bytes(), self.k.to_le_bytes());
        [a, b, self.then, self.otherwise, c, d, e, f]
    }
}

/// Makes the program.
///
/// # Panics
/// If a policy is too large for BPF's jumps.
#[must_use]
pub fn compile(arch: Arch, policy: &Policy) -> Vec<Step> {
    let mut leaves: BTreeMap<u32, Leaf<'_>> = BTreeMap::new();
    let other = || Leaf::Answer(policy.other);
    leaves.insert(0, other());
    for (name, rule) in &policy.rules {
        let Some(number) = arch.number(name) else { continue };
        let leaf = match rule {
            Rule::Always(action) => Leaf::Answer(*action),
            Rule::Tests(tests, last) => Leaf::Tests(tests, *last),
        };
        leaves.insert(number, leaf);
        leaves.entry(number + 1).or_insert_with(other);
    }
    leaves.insert(X32, Leaf::Answer(policy.foreign));
    let mut program = vec![
        Step::new(LOAD, 4),
        Step { code: EQUAL, then: 1, otherwise: 0, k: arch.audit() },
        Step::new(RETURN, policy.foreign.answer()),
        Step::new(LOAD, 0),
    ];
    let leaves: Vec<(u32, Leaf<'_>)> = joined(leaves);
    program.extend(search(&leaves));
    program
}

#[derive(Debug, Clone, PartialEq)]
enum Leaf<'a> {
    Answer(Action),
    Tests(&'a [(Vec<Test>, Action)], Action),
}

/// Neighbours that come to the same are one range.
fn joined(leaves: BTreeMap<u32, Leaf<'_>>) -> Vec<(u32, Leaf<'_>)> {
    let mut joined: Vec<(u32, Leaf<'_>)> = Vec::new();
    for (start, leaf) in leaves {
        let same = matches!((joined.last(), &leaf), (Some((_, Leaf::Answer(a))), Leaf::Answer(b)) if a == b);
        if !same {
            joined.push((start, leaf));
        }
    }
    joined
}

fn search(leaves: &[(u32, Leaf<'_>)]) -> Vec<Step> {
    if let [(_, leaf)] = leaves {
        return leaf_steps(leaf);
    }
    let (low, high) = leaves.split_at(leaves.len() / 2);
    let (below, above) = (search(low), search(high));
    let middle = high[0].0;
    let mut steps = match u8::try_from(below.len()) {
        Ok(then) => vec![Step { code: GREATER_EQUAL, then, otherwise: 0, k: middle }],
        Err(_) => {
            vec![Step { code: GREATER_EQUAL, then: 0, otherwise: 1, k: middle }, Step::new(JUMP, below.len() as u32)]
        }
    };
    steps.extend(below);
    steps.extend(above);
    steps
}

fn leaf_steps(leaf: &Leaf<'_>) -> Vec<Step> {
    match leaf {
        Leaf::Answer(action) => vec![Step::new(RETURN, action.answer())],
        Leaf::Tests(alternatives, last) => {
            let mut steps = Vec::new();
            for (tests, action) in *alternatives {
                steps.extend(alternative(tests, *action));
            }
            steps.push(Step::new(RETURN, last.answer()));
            steps
        }
    }
}

/// All tests hold: the answer. One does not: what comes after.
fn alternative(tests: &[Test], action: Action) -> Vec<Step> {
    let mut steps = vec![Step::new(RETURN, action.answer())];
    for test in tests.iter().rev() {
        let rest = steps.len() as u32;
        let mut one = vec![Step::new(LOAD, 16 + 8 * u32::from(test.argument))];
        if test.mask != u32::MAX {
            one.push(Step::new(AND, test.mask));
        }
        let count = test.values.len();
        for (index, value) in test.values.iter().enumerate() {
            // Over the values that are left and the jump.
            let then = u8::try_from(count - index).expect("at most 255 values");
            one.push(Step { code: EQUAL, then, otherwise: 0, k: *value });
        }
        one.push(Step::new(JUMP, rest));
        one.extend(steps);
        steps = one;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Profile};

    /// What the kernel would answer.
    fn run(program: &[Step], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut word, mut count) = (0, 0_u32, 0);
        loop {
            count += 1;
            assert!(count < 400, "a program only goes forward");
            let step = program[at];
            at += 1;
            match step.code {
                LOAD => {
                    word = match step.k {
                        0 => number,
                        4 => arch,
                        offset => arguments[(offset as usize - 16) / 8] as u32,
                    }
                }
                AND => word &= step.k,
                JUMP => at += step.k as usize,
                EQUAL => at += usize::from(if word == step.k { step.then } else { step.otherwise }),
                GREATER_EQUAL => at += usize::from(if word >= step.k { step.then } else { step.otherwise }),
                RETURN => return step.k,
                other => panic!("{other:#x}"),
            }
        }
    }

    /// The policy, read as a list: what the program must come to.
    fn expected(arch: Arch, policy: &Policy, number: u32, arguments: [u64; 6]) -> u32 {
        let rule = policy.rules.iter().rev().find(|(name, _)| arch.number(name) == Some(number));
        let action = match rule {
            None => policy.other,
            Some((_, Rule::Always(action))) => *action,
            Some((_, Rule::Tests(tests, last))) => {
                let holds =
                    |test: &Test| test.values.contains(&(arguments[usize::from(test.argument)] as u32 & test.mask));
                tests.iter().find(|(all, _)| all.iter().all(holds)).map_or(*last, |(_, action)| *action)
            }
        };
        action.answer()
    }

    /// Values that the call's tests are about, and others, in every place.
    fn arguments_for(arch: Arch, policy: &Policy, number: u32) -> Vec<[u64; 6]> {
        let rule = policy.rules.iter().rev().find(|(name, _)| arch.number(name) == Some(number));
        let Some((_, Rule::Tests(tests, _))) = rule else { return vec![[0; 6], [u64::MAX; 6]] };
        let own = tests.iter().flat_map(|(tests, _)| tests.iter().flat_map(|test| test.values.iter().copied()));
        let values: Vec<u64> = own.map(u64::from).chain([0, 1, 2, u64::MAX, 0x5412, 0x1_0000_5401]).collect();
        let shapes =
            |v: &u64| [[*v; 6], [*v, 0, 0, 0, 0, 0], [16, 3, *v, *v, 0, 0], [0, *v, 0, 0, 0, 0], [1, *v, *v, 0, 0, 0]];
        values.iter().flat_map(shapes).collect()
    }

    #[test]
    fn the_program_says_what_the_policy_says_for_every_call() {
        for arch in Arch::ALL {
            for profile in Profile::all() {
                let policy = profile.policy();
                let program = compile(arch, &policy);
                assert!(program.len() < 2000, "{}", program.len());
                for number in (0..600).chain([X32 - 1]) {
                    for arguments in arguments_for(arch, &policy, number) {
                        let answer = run(&program, arch.audit(), number, arguments);
                        let wanted = expected(arch, &policy, number, arguments);
                        assert_eq!(answer, wanted, "{} {profile:?} {number} {arguments:x?}", arch.name());
                    }
                }
                for number in [X32, X32 + 41, u32::MAX] {
                    assert_eq!(run(&program, arch.audit(), number, [0; 6]), policy.foreign.answer(), "x32");
                }
                assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), policy.foreign.answer(), "i386");
            }
        }
    }
}
