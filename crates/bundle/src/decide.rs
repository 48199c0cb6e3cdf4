//! The decision.

use crate::model::{Arguments, Bundle, Rule, Target, is_plain_absolute};

/// A command that a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed<'b> {
    /// The rule's id.
    pub rule: &'b str,
}

/// A command that no rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// `bundle.no_rule`, or `bundle.arguments` if only the arguments do not fit.
    pub code: &'static str,
    /// How the same program may be run, as a person would type it.
    pub instead: Vec<String>,
}

impl Bundle {
    /// Whether `program` (a resolved path) may be run with `arguments` (without argv\[0\]).
    pub fn decide(&self, program: &str, arguments: &[String]) -> Result<Allowed<'_>, Denied> {
        let mut instead = Vec::new();
        // A path with '..' in it names no program: whoever asks has not resolved it.
        if !is_plain_absolute(program) {
            return Err(Denied { code: "bundle.no_rule", instead });
        }
        for rule in self.rules.iter().filter(|rule| rule.target.covers(program)) {
            if rule.arguments.fit(arguments) {
                return Ok(Allowed { rule: &rule.id });
            }
            instead.push(rule.as_typed(program));
        }
        let code = if instead.is_empty() { "bundle.no_rule" } else { "bundle.arguments" };
        Err(Denied { code, instead })
    }

    /// Whether any rule is about `program` (a resolved path).
    pub fn has_rule_for(&self, program: &str) -> bool {
        is_plain_absolute(program) && self.rules.iter().any(|rule| rule.target.covers(program))
    }

    /// All rules as a person would type them.
    pub fn commands(&self) -> Vec<String> {
        let typed = |rule: &Rule| match &rule.target {
            Target::Program(program) => rule.as_typed(program),
            Target::Directory(directory) => rule.as_typed(&format!("{directory}/*")),
        };
        self.rules.iter().map(typed).collect()
    }
}

impl Target {
    fn covers(&self, program: &str) -> bool {
        match self {
            Self::Program(path) => path == program,
            Self::Directory(path) => {
                let name = program.strip_prefix(path.as_str()).and_then(|rest| rest.strip_prefix('/'));
                name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
            }
        }
    }
}

impl Arguments {
    fn fit(&self, arguments: &[String]) -> bool {
        match self {
            Self::Any => true,
            Self::None => arguments.is_empty(),
            Self::Exact(exact) => exact == arguments,
        }
    }
}

impl Rule {
    fn as_typed(&self, program: &str) -> String {
        match &self.arguments {
            Arguments::Any => format!("{program} …"),
            Arguments::None => program.to_owned(),
            Arguments::Exact(exact) => format!("{program} {}", exact.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::source::compile;

    fn bundle() -> crate::Bundle {
        compile(
            "name='t'\nversion=1\n
            [[rule]]\nid='ss'\nprogram='/usr/bin/ss'\narguments=['-tn']
            [[rule]]\nid='uptime'\nprogram='/usr/bin/uptime'\narguments='none'
            [[rule]]\nid='ps'\nprogram='/usr/bin/ps'\narguments='any'
            [[rule]]\nid='tools'\ndirectory='/opt/tools'\narguments='any'",
        )
        .unwrap()
    }

    fn decide(line: &str) -> Result<String, &'static str> {
        let mut words = line.split(' ').map(str::to_owned);
        let program = words.next().unwrap();
        let bundle = bundle();
        let arguments: Vec<String> = words.collect();
        bundle.decide(&program, &arguments).map(|allowed| allowed.rule.to_owned()).map_err(|denied| denied.code)
    }

    #[test]
    fn what_a_rule_says_is_allowed_and_nothing_else() {
        assert_eq!(decide("/usr/bin/ss -tn"), Ok("ss".into()));
        assert_eq!(decide("/usr/bin/uptime"), Ok("uptime".into()));
        assert_eq!(decide("/usr/bin/ps aux"), Ok("ps".into()));
        assert_eq!(decide("/opt/tools/x -y"), Ok("tools".into()));
        for (line, code) in [
            ("/usr/bin/ss", "bundle.arguments"),
            ("/usr/bin/ss -t", "bundle.arguments"),
            ("/usr/bin/ss -tn -K", "bundle.arguments"),
            ("/usr/bin/uptime -p", "bundle.arguments"),
            ("/usr/bin/cat /etc/shadow", "bundle.no_rule"),
            ("/opt/tools/sub/x", "bundle.no_rule"),
            ("/opt/tools/", "bundle.no_rule"),
            ("/opt/toolsx", "bundle.no_rule"),
            ("ss -tn", "bundle.no_rule"),
            ("/opt/tools/..", "bundle.no_rule"),
            ("/opt/tools/.", "bundle.no_rule"),
            ("/usr/bin/../bin/ss -tn", "bundle.no_rule"),
        ] {
            assert_eq!(decide(line), Err(code), "{line}");
        }
    }
}
