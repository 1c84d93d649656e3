//! A [`Network`] that only records calls, for tests of the protocol engine.

use std::io;
use std::net::IpAddr;

use crate::addresses::{AddressCommand, CommandRefused};
use crate::network::Network;

/// One call, in the order of calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A packet was sent.
    Send {
        /// The source of the frame, if it is not the interface's own.
        mac: Option<[u8; 6]>,
        /// The interface.
        interface: String,
        /// The source address.
        source: IpAddr,
        /// The destination address.
        destination: IpAddr,
        /// The VRRP packet.
        payload: Vec<u8>,
    },
    /// An address command was given.
    Address(AddressCommand),
}

/// Records calls, or refuses them.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The accepted calls so far.
    pub calls: Vec<Call>,
    /// While set, sending fails with this error and is not recorded.
    pub send_error: Option<io::ErrorKind>,
    /// While set, address commands are refused with this error and not recorded.
    pub refuse: Option<CommandRefused>,
}

impl Recorder {
    /// Takes the calls since the last `take`.
    pub fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }
}

impl Network for Recorder {
    fn send(&mut self, interface: &str, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        if let Some(kind) = self.send_error {
            return Err(kind.into());
        }
        let (interface, payload) = (interface.to_owned(), payload.to_vec());
        self.calls.push(Call::Send { mac: None, interface, source, destination, payload });
        Ok(())
    }

    fn send_from(
        &mut self,
        mac: [u8; 6],
        interface: &str,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        self.send(interface, source, destination, payload)?;
        if let Some(Call::Send { mac: sender, .. }) = self.calls.last_mut() {
            *sender = Some(mac);
        }
        Ok(())
    }

    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused> {
        if let Some(refused) = self.refuse {
            return Err(refused);
        }
        self.calls.push(Call::Address(command));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_recorded_in_order_and_refused_ones_are_not() {
        let (source, destination) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([224, 0, 0, 18]));
        let remove = AddressCommand::Remove { instance: "web".into() };
        let mut network = Recorder::default();
        network.send("eth0", source, destination, &[1]).unwrap();
        network.address(remove.clone()).unwrap();
        network.send_error = Some(io::ErrorKind::NetworkDown);
        network.refuse = Some(CommandRefused::Stopped);
        assert!(network.send("eth0", source, destination, &[2]).is_err());
        assert_eq!(network.address(remove.clone()), Err(CommandRefused::Stopped));
        let sent = Call::Send { mac: None, interface: "eth0".into(), source, destination, payload: vec![1] };
        assert_eq!(network.take(), [sent, Call::Address(remove)]);
        assert_eq!(network.take(), []);
    }
}
