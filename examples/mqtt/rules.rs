//! Who is let in, and what it is granted.

use std::time::Duration;

use heartring::Conn;
use mqtt_protocol_core::mqtt::packet::{self, Properties, Qos, v5_0 as v5};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, MqttError as Reason};

/// What holds for every client.
#[derive(Clone, clap::Args)]
pub(crate) struct Rules {
    /// Let in only who knows this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    user: Option<String>,
    /// The shortest keep-alive that is granted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    keep_alive_min: u16,
    /// The longest, also for those who ask for none
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) keep_alive_max: u16,
    /// The largest packet
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    pub(crate) packet_bytes_max: u32,
}

impl Rules {
    /// Checks a CONNECT and claims the client id. The answer waits for the claim.
    pub(crate) fn admit(&self, conn: &mut Conn<'_>, hello: &v5::Connect) -> Result<(), Reason> {
        let login = hello.user_name().zip(hello.password());
        let login = login.map(|(user, password)| [user.as_bytes(), b":", password].concat());
        if self.user.as_ref().is_some_and(|user| login.as_deref() != Some(user.as_bytes())) {
            return Err(Reason::BadUserNameOrPassword);
        }
        if hello.will_qos() == Qos::ExactlyOnce {
            return Err(Reason::QosNotSupported);
        }
        let assigned = format!("heartring-{}", conn.at());
        let id = if hello.client_id().is_empty() { &assigned } else { hello.client_id() };
        conn.claim(id.as_bytes()).map_err(|_| Reason::ClientIdentifierNotValid)?;
        conn.set_dead_within(dead_within(self.keep_alive(hello))).map_err(|_| Reason::UnspecifiedError)
    }

    /// CONNACK for a client whose claim is granted: what else is, and what is not.
    pub(crate) fn welcome(&self, conn: &Conn<'_>, hello: &v5::Connect) -> Result<v5::Connack, Reason> {
        let mut props: Properties = vec![
            packet::MaximumQos::new(1)?.into(),
            packet::SessionExpiryInterval::new(0)?.into(),
            packet::SharedSubscriptionAvailable::new(0)?.into(),
            packet::SubscriptionIdentifierAvailable::new(0)?.into(),
        ];
        if self.keep_alive(hello) != hello.keep_alive() {
            props.push(packet::ServerKeepAlive::new(self.keep_alive(hello))?.into());
        }
        let id = conn.identity().filter(|_| hello.client_id().is_empty());
        if let Some(Ok(id)) = id.map(|id| str::from_utf8(id.as_bytes())) {
            props.push(packet::AssignedClientIdentifier::new(id)?.into());
        }
        let connack = v5::Connack::builder().session_present(false).reason_code(ConnectReasonCode::Success);
        connack.props(props).build()
    }

    /// What it asks for, within bounds; the longest if it asks for none.
    fn keep_alive(&self, hello: &v5::Connect) -> u16 {
        let asked = if hello.keep_alive() == 0 { u16::MAX } else { hello.keep_alive() };
        asked.max(self.keep_alive_min).min(self.keep_alive_max)
    }
}

/// One and a half keep-alives (5.0, section 3.1.2.10).
pub(crate) fn dead_within(keep_alive: u16) -> Duration {
    Duration::from_secs(keep_alive.into()) * 3 / 2
}
