//! Attempts over TCP, for one exchange and for a conversation.

use std::net::{SocketAddr, TcpListener};

use vouchd_config::Grants;

use super::server::{ok, serve};
use super::{UNLESS_OK, attempt, placed, said};
use crate::common::{host, reporting};

fn connect(addr: &str) -> Vec<u8> {
    let (data, addr) = placed(3000, addr);
    let top = format!(
        r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32))) {data}"#
    );
    let body = format!(
        "(if (i32.lt_s (call $connect {addr} (i32.const 400)) (i32.const 0)) (then (i32.store8 (i32.const 1028) (i32.const 2))))"
    );
    reporting(0, "got in", &top, &body)
}

/// Connects for a conversation.
fn converse(addr: &str) -> Vec<u8> {
    let (data, addr) = placed(3000, addr);
    let top =
        format!(r#"(import "vouchd:check/stream@0.1.0" "connect-tcp" (func $connect (param i32 i32 i32 i32))) {data}"#);
    let body = format!("(call $connect {addr} (i32.const 400) (i32.const 60000)) {UNLESS_OK}");
    reporting(0, "got in", &top, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_never_leads_beyond_the_grant() {
    let (secret, at_secret) = serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| ok());
    let (open, at_open) = serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| ok());
    let (s, o) = (secret.port(), open.port());
    let (_, at_neighbour) = serve(TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], o))).unwrap(), |_| ok());
    let (_, at_far) = serve(TcpListener::bind(SocketAddr::from(([127, 0, 0, 4], o))).unwrap(), |_| ok());
    let only = [format!("127.0.0.1:{o}")];
    let everywhere = ["0.0.0.0/0:*".to_owned(), "[::/0]:*".to_owned()];
    let network = [format!("127.0.0.0/31:{o}")];
    let table: Vec<(&[String], String)> = vec![
        (&[], format!("127.0.0.1:{o}")),
        (&only, format!("127.0.0.1:{s}")),
        (&only, format!("127.0.0.2:{o}")),
        (&only, format!("localhost:{o}")),
        (&only, format!("LOCALHOST:{s}")),
        (&only, format!("localhost.:{s}")),
        (&only, format!("0:{o}")),
        (&only, format!("0.0.0.0:{o}")),
        (&only, format!("127.2:{o}")),
        (&only, format!("2130706434:{o}")),
        (&only, format!("0x7f000002:{o}")),
        (&only, format!("0177.0.0.2:{o}")),
        (&only, format!("127.0.0.1.:{s}")),
        (&only, format!("127.0.0.1 :{s}")),
        (&only, format!(" 127.0.0.2:{o}")),
        (&only, format!("127.0.0.1:{o}:{s}")),
        (&only, format!("127.0.0.1:{o}@127.0.0.1:{s}")),
        (&only, format!("[::1]:{o}")),
        (&only, format!("[::ffff:127.0.0.1]:{s}")),
        (&only, format!("[::ffff:127.0.0.2]:{o}")),
        (&only, format!("[::ffff:7f00:2]:{o}")),
        (&only, format!("[127.0.0.2]:{o}")),
        (&only, format!("127.0.0.1\u{0}.x:{s}")),
        (&only, format!("127.0.0.1%lo:{s}")),
        (&only, format!("127.0.0.1:{}", u32::from(s) + 65536)),
        (&only, format!("127.0.0.1:+{s}")),
        (&only, format!("127.0.0.1:0{s}")),
        (&only, format!("127.0.0.1/{o}:{s}")),
        (&only, format!("*:{o}")),
        (&network, format!("127.0.0.2:{o}")),
        (&network, format!("127.0.0.4:{o}")),
        (&network, format!("127.0.0.1:{s}")),
        (&network, format!("[::ffff:127.0.0.4]:{o}")),
        (&only, "169.254.169.254:80".to_owned()),
        (&only, format!("[fe80::1%lo]:{o}")),
        (&only, format!("[::127.0.0.1]:{o}")),
        (&only, format!("[64:ff9b::127.0.0.1]:{o}")),
        (&only, format!("127.0.0.1:{o}\u{0}")),
        (&only, format!("[127.0.0.1:{o}")),
        (&only, format!("\u{ff11}27.0.0.1:{s}")),
        (&only, "/run/app.sock".to_owned()),
        (&only, String::new()),
        // Guarded addresses, in every form that reaches them: a pattern does not cover them.
        (&everywhere, "169.254.169.254:80".to_owned()),
        (&everywhere, "100.100.100.200:80".to_owned()),
        (&everywhere, "[::ffff:169.254.169.254]:80".to_owned()),
        (&everywhere, "[::169.254.169.254]:80".to_owned()),
        (&everywhere, "[64:ff9b::169.254.169.254]:80".to_owned()),
        (&everywhere, "[64:ff9b:1::169.254.169.254]:80".to_owned()),
        (&everywhere, "[2002:a9fe:a9fe::]:80".to_owned()),
        (&everywhere, "[fd00:ec2::254]:80".to_owned()),
        (&everywhere, "[fe80::1]:80".to_owned()),
    ];
    let forms: [fn(&str) -> Vec<u8>; 2] = [connect, converse];
    let host = host();
    let granted = |patterns: &[String]| {
        let mut grants = Grants::default();
        grants.tcp.extend(patterns.iter().map(|pattern| pattern.parse().unwrap()));
        grants
    };
    for form in forms {
        let outcome = attempt(&host, &granted(&only), &form(&only[0])).await;
        assert_eq!(said(&outcome), "GOT IN");
    }
    assert_eq!(at_open.take_all().len(), 2);
    let mut complaints = Vec::new();
    for (patterns, addr) in &table {
        for form in forms {
            let outcome = attempt(&host, &granted(patterns), &form(addr)).await;
            let said = said(&outcome);
            println!("{addr:?}: {said}");
            let refused = said.contains("tcp = [")
                || said.contains("nothing could grant it")
                || said.contains("is not an address");
            if !refused {
                complaints.push(format!("{addr:?}: {said}"));
            }
        }
    }
    let arrived = [at_open.take_all(), at_secret.take_all(), at_neighbour.take_all(), at_far.take_all()].concat();
    println!("{} attempts by address; arrived: {arrived:?}", forms.len() * table.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(arrived.is_empty(), "{arrived:?}");
}
