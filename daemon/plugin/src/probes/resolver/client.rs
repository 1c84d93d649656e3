//! Asks name servers. The caller may drop a look-up at any time.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use simple_dns::TYPE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::{self, Said};
use super::system::Settings;

/// Delay before the next server is asked as well.
const STAGGER: Duration = Duration::from_millis(500);

/// No server gave a usable answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoAnswer(pub(super) String);

/// Asks for the IPv4 and IPv6 addresses of exactly this name.
pub(super) async fn addresses(settings: &Settings, name: &str) -> Result<Vec<IpAddr>, NoAnswer> {
    let (four, six) = tokio::join!(of_kind(settings, name, TYPE::A), of_kind(settings, name, TYPE::AAAA));
    match (four, six) {
        (Ok(mut four), Ok(six)) => {
            four.extend(six);
            Ok(four)
        }
        // Some servers fail at one of the two kinds.
        (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
        (Err(why), _) | (_, Err(why)) => Err(why),
    }
}

async fn of_kind(settings: &Settings, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, NoAnswer> {
    let servers = settings.servers.iter().cycle().take(settings.servers.len() * settings.attempts);
    let mut rest = servers.copied();
    let mut asked = JoinSet::new();
    let mut why = String::new();
    let mut left = settings.servers.len() * settings.attempts;
    loop {
        if let Some(server) = rest.next() {
            left -= 1;
            let (name, time) = (name.to_owned(), settings.timeout);
            asked.spawn(async move {
                let said = timeout(time, exchange(server, &name, kind)).await;
                said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map_err(|error| format!("{server}: {error}"))
            });
        }
        tokio::select! {
            Some(ended) = asked.join_next() => match ended {
                Ok(Ok(Said::Addresses(found))) => return Ok(found),
                Ok(Ok(Said::Failed(code))) => why = format!("the name server answers {code}"),
                Ok(Ok(Said::Cut)) => "the answer of the name server is cut off".clone_into(&mut why),
                Ok(Err(error)) => why = error,
                Err(error) => why = error.to_string(),
            },
            () = sleep(STAGGER), if left > 0 => {}
            else => return Err(NoAnswer(why)),
        }
    }
}

async fn exchange(server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Said> {
    // Hashed with a random key: nobody can predict it.
    let [high, low, ..] = RandomState::new().hash_one(name).to_be_bytes();
    let id = u16::from_be_bytes([high, low]);
    let Some(question) = message::question(id, name, kind) else { return Ok(Said::Addresses(Vec::new())) };
    let socket = UdpSocket::from_std(connected(server)?)?;
    socket.send(&question).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match message::answer(&buffer[..length], id, name, kind) {
            Some(Said::Cut) => return by_tcp(server, &question, id, name, kind).await,
            Some(said) => return Ok(said),
            // Not the answer to this question, or damaged.
            None => {}
        }
    }
}

/// A connected socket on a port that the kernel chooses each time, so that only someone who sees the question can answer.
pub(super) fn connected(peer: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let family = if peer.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(peer))?;
    Ok(socket.into())
}

async fn by_tcp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: TYPE) -> io::Result<Said> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut data = vec![0; usize::from(length)];
    stream.read_exact(&mut data).await?;
    message::answer(&data, id, name, kind)
        .ok_or_else(|| io::Error::other("its answer over TCP does not belong to the question"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use simple_dns::rdata::{A, RData};
    use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord};

    use super::*;

    /// Answers A with 10.0.0.1, and AAAA with nothing; as `how` says.
    #[derive(Clone, Copy, PartialEq)]
    enum How {
        Well,
        Silent,
        Fails,
        ByTcpOnly,
    }

    fn reply(data: &[u8], how: How) -> Vec<u8> {
        let mut packet = Packet::parse(data).unwrap().into_reply();
        packet.set_flags(PacketFlag::RESPONSE);
        let question = packet.questions[0].clone();
        match how {
            How::Fails => *packet.rcode_mut() = RCODE::ServerFailure,
            How::ByTcpOnly => packet.set_flags(PacketFlag::TRUNCATION),
            How::Well | How::Silent if question.qtype == QTYPE::TYPE(TYPE::A) => {
                let data = RData::A(A { address: u32::from_be_bytes([10, 0, 0, 1]) });
                packet.answers.push(ResourceRecord::new(question.qname, CLASS::IN, 60, data));
            }
            How::Well | How::Silent => {}
        }
        packet.build_bytes_vec().unwrap()
    }

    fn server(how: How) -> SocketAddr {
        use std::io::{Read, Write};
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = std::net::UdpSocket::bind(address).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 2000];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                // Something else comes first.
                let _ = udp.send_to(b"nonsense", from);
                if how != How::Silent {
                    let _ = udp.send_to(&reply(&buffer[..length], how), from);
                }
            }
        });
        std::thread::spawn(move || {
            for mut peer in tcp.incoming().flatten() {
                let mut length = [0; 2];
                peer.read_exact(&mut length).unwrap();
                let mut data = vec![0; usize::from(u16::from_be_bytes(length))];
                peer.read_exact(&mut data).unwrap();
                let answer = reply(&data, How::Well);
                peer.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
                peer.write_all(&answer).unwrap();
            }
        });
        address
    }

    fn settings(servers: Vec<SocketAddr>) -> Settings {
        let mut settings = Settings::parse("options timeout:1 attempts:1");
        settings.servers = servers;
        settings
    }

    #[tokio::test]
    async fn one_server_that_answers_is_enough() {
        let found = Ok(vec!["10.0.0.1".parse().unwrap()]);
        for others in [vec![How::Well], vec![How::Silent, How::Well], vec![How::Fails, How::Well], vec![How::ByTcpOnly]]
        {
            let servers = others.into_iter().map(server).collect();
            assert_eq!(addresses(&settings(servers), "web.example").await, found);
        }
    }

    #[tokio::test]
    async fn failing_or_silent_servers_say_nothing_about_the_name() {
        for how in [How::Fails, How::Silent] {
            assert!(addresses(&settings(vec![server(how)]), "web.example").await.is_err());
        }
    }

    #[tokio::test]
    async fn dropped_look_ups_do_not_delay_others() {
        let silent = settings(vec![server(How::Silent)]);
        for _ in 0..500 {
            assert!(timeout(Duration::from_millis(1), addresses(&silent, "web.example")).await.is_err());
        }
        let before = Instant::now();
        assert!(addresses(&settings(vec![server(How::Well)]), "web.example").await.is_ok());
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    }
}
