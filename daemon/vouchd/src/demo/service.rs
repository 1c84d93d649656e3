//! The web server of a node. Answers every request with the node's name.

use std::ffi::CString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::topology::{NodeId, SERVICE};

/// How long a request may take. The server handles one at a time.
const TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    #[arg(long)]
    node: NodeId,
}

/// Serves on port 80 until it is killed. Prints `listening` when it is ready.
pub(crate) fn run(args: &ServiceArgs) -> anyhow::Result<ExitCode> {
    nix::sys::prctl::set_name(&CString::new(SERVICE)?).context("naming the process")?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).context("listening on port 80")?;
    writeln!(io::stdout(), "listening")?;
    for connection in listener.incoming() {
        // A failed request does not matter to others.
        let _ = connection.and_then(|stream| answer(stream, args.node.name()));
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    for line in BufReader::new(&stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}\n",
        name.len() + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn answers_with_the_name_of_its_node_and_hangs_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        answer(listener.accept().unwrap().0, "node-a").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nnode-a\n"), "{text}");
    }
}
