//! Requests about links.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkMessage};
use nix::errno::Errno;

use super::{RequestSocket, finished};
use crate::netlink::{Change, Link};

impl RequestSocket {
    /// Returns all links.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let request = self.handle.link().get();
        let answers = self.read(finished(request.execute()))?;
        Ok(answers.into_iter().filter_map(link).collect())
    }

    /// Returns one link.
    ///
    /// # Errors
    /// `ENODEV` if it is not there; else as [`RequestSocket::send`].
    pub(crate) fn link(&mut self, index: u32) -> io::Result<Link> {
        // By hand, since `LinkGetRequest` asks for no acknowledgement and would wait for the answer that we divert.
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(message(index)));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let answers = self.handle.request(request).map_err(super::kernel_error)?;
        let answers = self.read(finished(super::errors_of(answers)))?;
        answers.into_iter().find_map(link).ok_or_else(|| Errno::ENODEV.into())
    }

    /// Sets `promote_secondaries` of a link. Not through /proc/sys, which may be read-only for this process.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn promote_secondaries(&mut self, index: u32) -> io::Result<()> {
        let mut settings = InetDevConf::default();
        settings.promote_secondaries = 1;
        let mut message = message(index);
        let settings = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(settings)]);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![settings]));
        let request = self.handle.link().set(message);
        self.send(request.execute())
    }
}

fn message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn link(change: Change) -> Option<Link> {
    match change {
        Change::Link(link) => Some(link),
        Change::LinkGone { .. } | Change::Address(_) | Change::AddressGone(_) => None,
    }
}
