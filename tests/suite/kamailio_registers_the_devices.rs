//! Kamailio as the SIP/IP core, as IMS has it: an edge that the devices talk to (Path), and a registrar that tells `pf`
//! of their registrations, asserts who calls, and passes `pf`'s INVITE on (Service-Route, third-party REGISTER). Both
//! record-route. Where there is no such registrar, `pf` is it.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Device, Party, Scene, Ue},
    net::Place,
    pf::{Pf, PfOptions},
    sip::{SdpOptions, Transport, uri},
    trace::Trace,
    wait::{SOON, until},
};

use crate::{
    neighbours::{Directory, Neighbour, free_address, tool},
    sessions_change_on_the_way::{accept, changed, re_invite},
};

/// Who registers the devices behind the edge.
#[derive(Clone, Copy, PartialEq)]
enum Registrar {
    /// A second Kamailio, which tells `pf`.
    Core,
    /// `pf` itself.
    Pf,
}

/// The core with `pf` and the far end.
struct Core {
    _directory: Directory,
    neighbours: Vec<Neighbour>,
    /// Where the edge is.
    edge: SocketAddr,
    /// Who stands before the far end.
    last: IpAddr,
    pf: Pf,
    far: Party,
    trace: Trace,
}

/// `None` where Kamailio is not installed.
async fn core(kind: Registrar) -> Result<Option<Core>> {
    let Some(program) = tool("kamailio", "kamailio")? else { return Ok(None) };
    let (home, registrar, edge) = (Place::loopback(1), Place::loopback(25), Place::loopback(26));
    let (trace, directory) = (Trace::default(), Directory::new("kamailio-core")?);
    let far = Party::start("FAR", &Place::loopback(9), Transport::Udp, Scene::BOB, &trace)?;
    let (registrar_at, edge) = (free_address(&registrar)?, free_address(&edge)?);
    let mut options = PfOptions::new(&home);
    match kind {
        // No `core`: the Route of what comes from the registrar says where pf's INVITE goes.
        Registrar::Core => {
            options.trusted = vec![registrar.ip];
            options.registrars = vec![registrar.ip];
            options.users = Vec::new();
        }
        Registrar::Pf => options.core = Some(far.agent.local()),
    }
    let pf = Pf::start(&options)?;
    let own = pf.sip_address(Transport::Udp, home.ip)?;
    let (beside_edge, service_route) = match kind {
        Registrar::Core => (registrar_at, format!("sip:orig@{registrar_at};lr")),
        Registrar::Pf => (own, format!("sip:{own};lr")),
    };

    let start = |name: &'static str, text: &str| {
        let text = text
            .replace("SERVICE_ROUTE", &service_route)
            .replace("EDGE_HOST", &edge.ip().to_string())
            .replace("CORE_HOST", &beside_edge.ip().to_string())
            .replace("PF_HOST", &home.ip.to_string())
            .replace("EDGE", &edge.to_string())
            .replace("CORE", &beside_edge.to_string())
            .replace("sip:PF", &format!("sip:{own}"))
            .replace("FAR", &far.agent.local().to_string());
        let folder = directory.0.join(name);
        std::fs::create_dir(&folder)?;
        let mut command = Command::new(&program);
        command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]);
        command.arg(directory.file(&format!("{name}.cfg"), &text)?);
        command.arg("-Y").arg(&folder).arg("-P").arg(folder.join("pid"));
        Neighbour::start(name, command, &directory)
    };
    let mut neighbours = vec![start("edge", include_str!("../neighbours/kamailio_edge.cfg"))?];
    let mut addresses = vec![edge];
    if kind == Registrar::Core {
        neighbours.push(start("registrar", include_str!("../neighbours/kamailio_registrar.cfg"))?);
        addresses.push(registrar_at);
    }
    for (address, neighbour) in addresses.into_iter().zip(&neighbours) {
        let listens = || std::net::TcpStream::connect(address).is_ok();
        until(SOON, "Kamailio listens", listens).await.with_context(|| neighbour.output())?;
    }
    let last = if kind == Registrar::Core { registrar.ip } else { home.ip };
    Ok(Some(Core { _directory: directory, neighbours, edge, last, pf, far, trace }))
}

impl Core {
    /// A device of Alice, registered through the edge, and known to `pf`.
    async fn device(&self, name: &'static str, last: u8, known: usize) -> Result<Ue> {
        let place = Place::loopback(last);
        let mut ue = Ue::start(name, &place, Device::of_alice(name), self.edge, &self.trace)?;
        let answer = ue.register().await.with_context(|| self.story())?;
        let path = answer.required("Path")?;
        ensure!(path.contains(&self.edge.to_string()), "Path: {path}");
        self.knows(known).await?;
        Ok(ue)
    }

    /// What everybody said.
    fn story(&self) -> String {
        let outputs: String = self.neighbours.iter().map(Neighbour::output).collect();
        format!("{outputs}\n{}", self.pf.log())
    }

    /// `pf` has so many devices in its table.
    async fn knows(&self, number: usize) -> Result<()> {
        let count =
            || self.pf.cli_json("devices").is_ok_and(|list| list.as_array().map(Vec::len) == Some(number));
        until(SOON, &format!("pf to know {number} devices"), count).await.with_context(|| self.story())
    }

    /// A session from its INVITE to its BYE; the routes of the core are the only way for all of it.
    async fn session(&mut self) -> Result<()> {
        let mut a = self.device("UE-A", 11, 1).await?;
        let b = self.device("UE-B", 12, 2).await?;
        let c = self.device("UE-C", 13, 3).await?;
        let mut d = self.device("UE-D", 14, 4).await?;
        // D leaves again.
        let left = d.register_with(0, |_| {}).await?;
        ensure!(left.code() == 200, "{}", left.summary());
        self.knows(3).await?;
        let service_route = a.register().await?.required("Service-Route")?.to_owned();

        let (edge, last) = (self.edge.ip(), self.last);
        let offer = SdpOptions::setup("active");
        let calling = a.invite_with(Scene::BOB, &offer, |invite| {
            invite.headers.insert(1, ("Route".to_owned(), service_route));
            // What a device asserts itself counts for nothing.
            invite.headers.push(("P-Asserted-Identity".to_owned(), "<sip:mallory@example.org>".to_owned()));
        });
        let mut calling = calling.await?;
        let accepted = async {
            let invited = self.far.invited(SOON).await.with_context(|| self.story())?;
            let from = invited.request.peer.addr.ip();
            ensure!(from == last, "the far end's INVITE came from {from}");
            let caller = invited.request.message.header("P-Asserted-Identity").map(uri);
            ensure!(caller == Some(Scene::ALICE), "who calls: {caller:?}");
            invited.accept().await
        };
        let (answer, there) = tokio::join!(calling.last(SOON), accepted);
        let mut there = there?;
        let mut here = calling.acknowledge(answer?).await?;
        ensure!(here.dialog.routes.join(",").contains(&self.edge.to_string()), "{:?}", here.dialog.routes);

        let mut others: Vec<Call> = Vec::new();
        for device in [&b, &c] {
            let invited = device.invited(SOON).await.with_context(|| self.story())?;
            let from = invited.request.peer.addr.ip();
            ensure!(from == edge, "{}'s INVITE came from {from}", device.name);
            others.push(invited.accept().await?);
        }
        here.media.ready(SOON).await?;
        there.media.ready(SOON).await?;
        for other in &others {
            other.media.ready(SOON).await?;
        }
        talk(&here, &mut there, &mut others, "hello").await?;

        // A change: the far end and the devices get it along their own routes.
        let offer = changed(&here.invite.body)?;
        let request = re_invite(&mut here, offer);
        let number = request.cseq();
        let mut tx = here.dialog.send(request).await?;
        let at_far = there.dialog.expect("INVITE", SOON).await?;
        ensure!(at_far.peer.addr.ip() == last, "the re-INVITE came from {}", at_far.peer.addr);
        accept(&there, &at_far, changed(&there.answer.body)?).await?;
        let answer = tx.last(SOON).await?;
        ensure!(answer.code() == 200, "{}\n{}", answer.summary(), self.story());
        here.dialog.ack(number, None).await?;
        at_far.acked(SOON).await?;
        for other in &mut others {
            let changes = other.dialog.expect("INVITE", SOON).await?;
            ensure!(changes.peer.addr.ip() == edge, "the re-INVITE came from {}", changes.peer.addr);
            accept(other, &changes, changed(&other.answer.body)?).await?;
            changes.acked(SOON).await?;
        }
        talk(&here, &mut there, &mut others, "and again").await?;

        let ends = async {
            let bye = there.dialog.expect("BYE", SOON).await?;
            ensure!(bye.peer.addr.ip() == last, "the BYE came from {}", bye.peer.addr);
            bye.answer(200, "OK").await?;
            for other in &mut others {
                let bye = other.dialog.expect("BYE", SOON).await?;
                ensure!(bye.peer.addr.ip() == edge, "the BYE came from {}", bye.peer.addr);
                bye.answer(200, "OK").await?;
            }
            Ok(())
        };
        let (ends, done) = tokio::join!(ends, here.hang_up());
        ends?;
        done?;
        for neighbour in &mut self.neighbours {
            neighbour.says("lab: BYE along the route set", SOON).await?;
            let output = neighbour.output();
            ensure!(!output.contains("outside the") && !output.contains("without a route"), "{output}");
        }
        self.neighbours[0].says("lab: INVITE along the Path", SOON).await
    }
}

// Rows: REG-01, INV-29, ANS-08
#[tokio::test]
async fn pf_behind_a_registrar_of_the_core() -> Result<()> {
    let Some(mut core) = core(Registrar::Core).await? else { return Ok(()) };
    core.session().await?;
    ensure!(core.neighbours[1].output().contains("lab: ACK along the route set"), "{}", core.story());
    Ok(())
}

// Rows: REG-01
#[tokio::test]
async fn pf_as_the_registrar_behind_an_edge() -> Result<()> {
    let Some(mut core) = core(Registrar::Pf).await? else { return Ok(()) };
    core.session().await?;
    // The edge is where Alice's devices registered from, but not all that comes from there is hers.
    let place = Place::loopback(15);
    let mut mallory = Party::start("MALLORY", &place, Transport::Udp, Scene::ALICE, &core.trace)?;
    mallory.proxy = Some(core.edge);
    let own = core.pf.sip_address(Transport::Udp, core.last)?;
    let offer = SdpOptions::setup("active");
    let calling = mallory.invite_with(Scene::BOB, &offer, |invite| {
        invite.headers.insert(1, ("Route".to_owned(), format!("<sip:{own};lr>")));
    });
    let refused = calling.await?.refused(SOON).await?;
    ensure!(refused.code() == 407, "{}", refused.summary());
    Ok(())
}

/// A message of the caller reaches everybody, once the far end's answer has reached the caller.
async fn talk(here: &Call, there: &mut Call, others: &mut [Call], text: &str) -> Result<()> {
    let sent = here.media.chat(Scene::ALICE, Scene::BOB, text).await?;
    for call in [there].into_iter().chain(others) {
        let got = call.media.message(SOON).await.with_context(|| format!("{text}: {}", call.party.name))?;
        ensure!(got.body == sent.body, "{text}: {}", call.party.name);
    }
    Ok(())
}
