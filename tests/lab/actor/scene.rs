//! The scene of most tests: `pf`, the user's devices and the far end, each at its own loopback address.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::{Call, Device, Party, Ue};
use crate::{
    net::{Network, Place},
    pf::{Pf, PfOptions},
    sip::{SdpOptions, Transport},
    trace::Trace,
    wait::SOON,
};

/// What a scene consists of.
pub struct SceneOptions {
    /// Lines of the `[policy]` table.
    pub policy: String,
    /// Names of the devices; the first is the originator.
    pub devices: Vec<&'static str>,
    /// Transport of the devices' SIP.
    pub transport: Transport,
    /// Transport of the far end's SIP, and of the ISF's.
    pub core: Transport,
    /// Interworking Selection Function.
    pub isf: Option<SocketAddr>,
    /// Lines of the `[sip]` table.
    pub sip: String,
    /// Lines of the `[msrp]` table.
    pub msrp: String,
    /// Value of `fast_path`. Off at first; with PF_LAB_FAST_PATH in the environment `required`, for tests that run one
    /// after the other: programs of several `pf` on one loopback interface would disturb each other.
    pub fast_path: &'static str,
    /// A network whose hosts the actors live on, instead of loopback addresses.
    pub network: Option<Network>,
    /// There: their IPv6 addresses.
    pub ipv6: bool,
    /// There: all on one host.
    pub one_host: bool,
    /// Lines for alice in the users file.
    pub user: String,
    /// Lines of the `[store]` table.
    pub store: String,
    /// Lines of the `[datapath]` table.
    pub datapath: String,
    /// Further tables.
    pub more: String,
    /// Users beside alice: address, user name, password.
    pub others: Vec<(String, String, String)>,
    /// A program that runs `pf`, with its arguments.
    pub under: Vec<String>,
}

impl Default for SceneOptions {
    fn default() -> SceneOptions {
        SceneOptions {
            policy: String::new(),
            devices: vec!["UE-A", "UE-B", "UE-C"],
            transport: Transport::usual(),
            core: Transport::usual(),
            isf: None,
            sip: String::new(),
            msrp: String::new(),
            fast_path: if std::env::var_os("PF_LAB_FAST_PATH").is_some() { "required" } else { "off" },
            network: None,
            ipv6: false,
            one_host: false,
            user: String::new(),
            store: String::new(),
            datapath: String::new(),
            more: String::new(),
            others: Vec::new(),
            under: Vec::new(),
        }
    }
}

/// `pf` with alice's devices on one side and `sip:bob@far.example.net` on the other.
pub struct Scene {
    /// The trace of all actors.
    pub trace: Trace,
    /// The far end.
    pub far: Party,
    /// Alice's devices, registered.
    pub devices: Vec<Ue>,
    /// The product.
    pub pf: Pf,
    /// Where the devices reach it.
    pub at: SocketAddr,
    /// Holds the namespaces.
    network: Option<Network>,
}

impl Scene {
    /// Where the sessions of a scene go.
    pub const BOB: &'static str = "sip:bob@far.example.net";
    /// Who starts them.
    pub const ALICE: &'static str = "sip:alice@example.org";

    /// Default policy, these devices.
    pub async fn with(devices: &[&'static str]) -> Result<Scene> {
        Scene::start(SceneOptions { devices: devices.to_vec(), ..SceneOptions::default() }).await
    }

    /// Starts `pf`, then the far end and the devices, and registers these.
    pub async fn start(options: SceneOptions) -> Result<Scene> {
        let mut scene = Scene::unregistered(options).await?;
        for device in &mut scene.devices {
            device.register().await?;
        }
        Ok(scene)
    }

    /// The same without registrations.
    pub async fn unregistered(mut options: SceneOptions) -> Result<Scene> {
        let trace = Trace::default();
        let mut only: Option<Place> = None;
        let mut place = |name: &str, last: u8| match &mut options.network {
            Some(network) => {
                if let Some(only) = only.as_ref().filter(|_| options.one_host) {
                    return Ok(only.clone());
                }
                let host = network.host(name)?;
                Ok::<_, anyhow::Error>(only.insert(if options.ipv6 { host.v6 } else { host.v4 }).clone())
            }
            None => Ok(Place::loopback(last)),
        };
        let home = place("pf", 1)?;
        let far = Party::start("FAR", &place("FAR", 9)?, options.core, Scene::BOB, &trace)?;
        let mut pf = PfOptions::new(&home);
        pf.policy = options.policy;
        pf.core = Some(far.agent.local());
        pf.transport = options.core;
        pf.trusted = vec![far.place.ip];
        pf.registrars = vec![far.place.ip];
        pf.isf = options.isf;
        (pf.sip, pf.msrp) = (options.sip, options.msrp);
        pf.fast_path = options.fast_path;
        pf.user = options.user;
        pf.more = format!("[store]\n{}\n[datapath]\n{}\n{}\n", options.store, options.datapath, options.more);
        pf.users.extend(options.others);
        pf.under = options.under;
        let pf = Pf::start(&pf)?;
        for (_, address) in &pf.sip {
            trace.name_socket(*address, "pf");
        }
        for address in &pf.msrp {
            trace.name_socket(*address, "pf");
        }
        trace.name_host(home.ip, "pf");
        let at = pf.sip_address(options.transport, home.ip)?;
        let mut devices = Vec::new();
        for (number, name) in (11..).zip(&options.devices) {
            let mut device = Device::of_alice(&format!("{name} of Alice"));
            device.transport = options.transport;
            devices.push(Ue::start(name, &place(name, number)?, device, at, &trace)?);
        }
        Ok(Scene { trace, far, devices, pf, at, network: options.network })
    }

    /// The network, where the actors have one.
    pub fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("a scene on loopback")
    }

    /// The originator.
    pub fn a(&self) -> &Ue {
        &self.devices[0]
    }

    /// Another device, by its place in the list.
    pub fn device(&self, number: usize) -> &Ue {
        &self.devices[number]
    }

    /// Establishes a session of UE-A with the far end; devices are not attended to.
    pub async fn call(&self) -> Result<(Call, Call)> {
        self.call_with(&SdpOptions::setup("passive")).await
    }

    /// The same with this answer of the far end.
    pub async fn call_with(&self, far_answer: &SdpOptions) -> Result<(Call, Call)> {
        let calling = self.a().invite(Scene::BOB).await?;
        let far = self.far.invited(SOON).await?.accept_with(far_answer, |_| {}).await?;
        let a = calling.answered(SOON).await?;
        a.media.ready(SOON).await.context("leg A")?;
        far.media.ready(SOON).await.context("leg F")?;
        Ok((a, far))
    }

    /// Establishes a session with the far end and with every other device.
    pub async fn full_call(&self) -> Result<(Call, Call, Vec<Call>)> {
        self.full_call_with(&SdpOptions::setup("passive")).await
    }

    /// The same with this answer of the devices.
    pub async fn full_call_with(&self, answer: &SdpOptions) -> Result<(Call, Call, Vec<Call>)> {
        let (a, far) = self.call().await?;
        let mut others = Vec::new();
        for device in &self.devices[1..] {
            let call = device.invited(SOON).await?.accept_with(answer, |_| {}).await?;
            call.media.ready(SOON).await.with_context(|| format!("leg of {}", device.name))?;
            others.push(call);
        }
        Ok((a, far, others))
    }

    /// What must hold at the end of every test: nobody has seen a breach of SIP.
    pub fn verify(&self) -> Result<()> {
        self.devices.iter().map(|device| &device.party).chain([&self.far]).try_for_each(Party::verify)
    }
}
