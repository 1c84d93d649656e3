//! Components that are too deep or too many, or that lie about themselves.

use super::parts::many;
use super::{End, Hostile};
use crate::guest::assemble;

pub(super) fn all() -> Vec<Hostile> {
    let text = |name, end, wat: &str| Hostile::new(name, end, assemble(wat));
    const NOT_ONE: End = End::Refused(&["does not export", "too big", "damaged"]);
    vec![
        Hostile::new(
            "components in components",
            End::Refused(&["damaged", "nesting", "does not export"]),
            nested(1200),
        ),
        text("a component of nothing", End::Refused(&["it exports nothing"]), "(component)"),
        text(
            "a component of five hundred instances",
            NOT_ONE,
            &format!("(component (core module $m) {})", many(500, "(core instance (instantiate $m))")),
        ),
        text(
            "a component of five hundred memories",
            NOT_ONE,
            &format!("(component (core module $m (memory 1)) {})", many(500, "(core instance (instantiate $m))")),
        ),
        text("instances that double six times", NOT_ONE, &doubling(6)),
        text(
            "instances that double forty times",
            End::Refused(&["does not export", "too big", "damaged", "took", "memory"]),
            &doubling(40),
        ),
        text(
            "types that double sixty times",
            End::Refused(&["damaged", "type size", "does not export", "too big", "took"]),
            &types(60),
        ),
        text(
            "a hundred thousand types",
            End::Refused(&["it exports nothing", "damaged"]),
            &format!("(component {})", many(100_000, "(type (tuple u8 u8))")),
        ),
        text(
            "a component that needs a database",
            End::Refused(&["needs `acme:db/query@1.0.0`"]),
            "(component (import \"acme:db/query@1.0.0\" (instance)))",
        ),
        text(
            "a component of a newer contract",
            End::Refused(&["`vouchd:check/http` 0.3.0, this daemon offers 0.1.0"]),
            "(component (import \"vouchd:check/http@0.3.0\" (instance)))",
        ),
        text(
            "a component that exports something else as the checker",
            End::Refused(&["does not fit", "does not export"]),
            "(component (instance $i) (export \"vouchd:check/checker@0.1.0\" (instance $i)))",
        ),
        text(
            "a component whose check takes nothing",
            End::Refused(&["does not fit", "could not be started"]),
            "(component (core module $m (func (export \"f\")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i \"f\")))
                (instance $c (export \"check\" (func $f)))
                (export \"vouchd:check/checker@0.1.0\" (instance $c)))",
        ),
        text(
            "a component that is a program of another type",
            End::Refused(&["does not fit", "could not be started", "does not export"]),
            "(component (core module $m (func (export \"f\")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i \"f\")))
                (instance $c (export \"run\" (func $f)))
                (export \"wasi:cli/run@0.2.0\" (instance $c)))",
        ),
        text(
            "a component whose run says neither",
            End::Broken(&["broke the contract"]),
            "(component (core module $m (func (export \"f\") (result i32) (i32.const 7)))
                (core instance $i (instantiate $m))
                (func $f (result (result)) (canon lift (core func $i \"f\")))
                (instance $c (export \"run\" (func $f)))
                (export \"wasi:cli/run@0.2.0\" (instance $c)))",
        ),
        text(
            "a component whose run loops",
            End::Stopped,
            "(component (core module $m (func (export \"f\") (result i32) (loop (br 0)) unreachable))
                (core instance $i (instantiate $m))
                (func $f (result (result)) (canon lift (core func $i \"f\")))
                (instance $c (export \"run\" (func $f)))
                (export \"wasi:cli/run@0.2.0\" (instance $c)))",
        ),
        text(
            "a component of which one module loops at its start",
            End::Refused(&["not done within", "took longer", "CPU", "could not be started"]),
            "(component (core module $m (func (export \"f\") (result i32) (i32.const 0)))
                (core module $s (func $l (loop (br 0))) (start $l))
                (core instance $i (instantiate $m)) (core instance (instantiate $s))
                (func $f (result (result)) (canon lift (core func $i \"f\")))
                (instance $c (export \"run\" (func $f)))
                (export \"wasi:cli/run@0.2.0\" (instance $c)))",
        ),
        text(
            "a program of a hundred and fifty instances",
            End::Refused(&["too big", "instances"]),
            &format!(
                "(component (core module $m (func (export \"f\") (result i32) (i32.const 0)))
                    (core instance $i (instantiate $m)) {}
                    (func $f (result (result)) (canon lift (core func $i \"f\")))
                    (instance $c (export \"run\" (func $f)))
                    (export \"wasi:cli/run@0.2.0\" (instance $c)))",
                many(150, "(core instance (instantiate $m))")
            ),
        ),
        text(
            "a program of ten memories",
            End::Contained(&["too big", "memories", "limits.memory"]),
            &format!(
                "(component (core module $m (memory 100) (func (export \"f\") (result i32) (i32.const 0)))
                    (core instance $i (instantiate $m)) {}
                    (func $f (result (result)) (canon lift (core func $i \"f\")))
                    (instance $c (export \"run\" (func $f)))
                    (export \"wasi:cli/run@0.2.0\" (instance $c)))",
                many(9, "(core instance (instantiate $m))")
            ),
        ),
        Hostile::new("a component of garbage", End::Refused(&["damaged"]), b"\0asm\x0d\0\x01\0\xff\xff\xff".to_vec()),
        Hostile::new(
            "a component of a module cut off",
            End::Refused(&["damaged"]),
            b"\0asm\x0d\0\x01\0\x01\xff\xff\x7f\0asm\x01\0\0\0".to_vec(),
        ),
    ]
}

/// Built from bytes, since an assembler may give up on it.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(b"\0asm\x0d\0\x01\0".to_vec(), |inner, _| {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        outer.extend(super::files::leb(inner.len()));
        outer.extend(inner);
        outer
    })
}

/// Each component has two instances of the previous one.
fn doubling(depth: usize) -> String {
    let mut text = String::from("(component (component $c0 (core module $m) (core instance (instantiate $m)))");
    for n in 0..depth {
        text += &format!(
            "(component $c{} (alias outer 1 $c{n} (component $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))",
            n + 1
        );
    }
    text + &format!("(instance (instantiate $c{depth})))")
}

fn types(depth: usize) -> String {
    let mut text = String::from("(component (type $t0 (tuple u64 u64))");
    for n in 0..depth {
        text += &format!("(type $t{} (tuple $t{n} $t{n}))", n + 1);
    }
    text + ")"
}
