//! Hostile servers for the corpus: one drips, one is mute, two flood, one hangs up, one lies.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The addresses of the servers.
#[derive(Debug, Clone, Copy)]
pub struct Peers {
    /// Sends an endless header, one byte at a time.
    pub drip: SocketAddr,
    /// Accepts and sends nothing.
    pub mute: SocketAddr,
    /// Sends an endless body as fast as the plugin reads it.
    pub flood: SocketAddr,
    /// Sends endless headers.
    pub headers: SocketAddr,
    /// Accepts and hangs up.
    pub gone: SocketAddr,
    /// Announces a body of 2^64 - 1 bytes.
    pub liar: SocketAddr,
}

/// The longest time that a connection stays open, whatever the plugin does.
const LONGEST: Duration = Duration::from_secs(20);

impl Peers {
    /// Starts the servers on the loopback of the calling thread's network. They serve until the process ends.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start() -> std::io::Result<Peers> {
        Ok(Peers {
            drip: serve(|mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ");
                // For twenty seconds.
                for _ in 0..4000 {
                    if stream.write_all(b"x").is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            })?,
            mute: serve(|mut stream| {
                let _ = stream.set_read_timeout(Some(LONGEST));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.read(&mut [0; 4096]);
            })?,
            flood: serve(|mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(&[b'x'; 65536]).is_ok() {}
            })?,
            headers: serve(|mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                while stream
                    .write_all(b"x-more: and more of the same, without end, as long as anybody listens\r\n")
                    .is_ok()
                {}
            })?,
            gone: serve(drop)?,
            liar: serve(|mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nthat is all");
            })?,
        })
    }

    /// All addresses.
    pub fn all(&self) -> [SocketAddr; 6] {
        let Peers { drip, mute, flood, headers, gone, liar } = *self;
        [drip, mute, flood, headers, gone, liar]
    }

    /// Addresses where nobody listens, for tests that do not run the files.
    pub fn nobody() -> Peers {
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Peers { drip: nobody, mute: nobody, flood: nobody, headers: nobody, gone: nobody, liar: nobody }
    }
}

fn serve(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            let _ = stream.set_write_timeout(Some(LONGEST));
            // If no thread can be started, the connection is closed: another way to be hostile.
            let _ = thread::Builder::new().stack_size(128 << 10).spawn(move || answer(stream));
        }
    });
    Ok(address)
}
