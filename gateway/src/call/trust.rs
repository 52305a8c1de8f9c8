//! Where a leg's media may come from and go to, by what its signalling proves.

use std::net::IpAddr;

use hotline_media::latch::{Network, Trust};
use hotline_sip::{Incoming, IpNet, Transport};

use crate::config::{Config, Trunk};
use crate::net::sip::Sip;

/// A trunk that signals from `signalling`. Carriers have media gateways apart from their signalling,
/// so their description is believed, unless the site lists the networks media lives in.
pub(crate) fn trust_in_trunk(trunk: Option<&Trunk>, signalling: IpAddr) -> Trust {
    let listed = trunk.map_or(&[][..], |trunk| &trunk.media_networks);
    Trust::new(listed.is_empty(), std::iter::once(Network::host(signalling)).chain(networks(listed)))
}

fn networks(listed: &[String]) -> impl Iterator<Item = Network> {
    let networks = listed.iter().filter_map(|text| text.parse::<IpNet>().ok());
    networks.map(|net| Network { ip: net.address(), bits: net.prefix_bits() })
}

/// What an INVITE proves. Over UDP its source may be forged until an ACK brings our tag back; a
/// phone has answered a challenge.
pub(crate) fn trust_in_caller(trunk: Option<&Trunk>, invite: &Incoming) -> Trust {
    let trust = trust_in_trunk(trunk, invite.flow.remote.ip());
    if invite.flow.transport == Transport::Udp { trust.unconfirmed() } else { trust }
}

/// A phone may describe itself as it likes: only where it signals from is known, and what the site lists.
pub(crate) fn trust_in_phone(config: &Config, signalling: impl IntoIterator<Item = IpAddr>) -> Trust {
    let listed = networks(&config.sip.phone_media_networks);
    Trust::new(false, signalling.into_iter().map(Network::host).chain(listed))
}

/// Any of an account's phones may answer.
pub(crate) fn trust_in_account(config: &Config, sip: &Sip, user: &str) -> Trust {
    trust_in_phone(config, sip.bindings(user).iter().map(|binding| binding.flow.remote.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phones_media_comes_from_its_own_host_or_a_listed_network() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut config = Config::default();
        assert!(!trust_in_phone(&config, [ip("192.0.2.1")]).covers(ip("10.0.0.1")));
        config.sip.phone_media_networks = vec!["10.0.0.0/8".into()];
        let trust = trust_in_phone(&config, [ip("192.0.2.1")]);
        assert!(!trust.believes_sdp() && trust.covers(ip("10.0.0.1")) && trust.covers(ip("192.0.2.1")));
    }

    #[test]
    fn listed_networks_take_the_place_of_belief() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let open = trust_in_trunk(None, ip("192.0.2.1"));
        assert!(open.believes_sdp() && open.covers(ip("192.0.2.1")) && !open.covers(ip("192.0.2.2")));
        let trunk = Trunk { media_networks: vec!["198.51.100.0/24".into(), "203.0.113.7".into()], ..Trunk::default() };
        let listed = trust_in_trunk(Some(&trunk), ip("192.0.2.1"));
        assert!(!listed.believes_sdp());
        assert!(["192.0.2.1", "198.51.100.9", "203.0.113.7"].iter().all(|text| listed.covers(ip(text))));
        assert!(!listed.covers(ip("203.0.113.8")));
    }
}
