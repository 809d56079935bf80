//! Which networks there are, and where what is known of them lies: the only code that knows how.
//!
//! `ROOT/networks/ID/network.json` appears and goes by rename under `ROOT/networks.lock`, which also keeps two networks
//! from the same name, subnet or bridge. `STATE/networks/ID` has the leases. The network `bridge` is made when it is first
//! needed; `host` and `none` exist as names alone.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::firewall::Table;
use crate::network::address::{self, Subnet};
use crate::network::lease::{Lease, Leases, Part};
use crate::network::netlink::Netlink;
use crate::network::record::{Ipam, IpamConfig};
use crate::network::{DEFAULT, NAMES_ONLY, Network, bridge};
use crate::root::remove::forget;
use crate::rootless::host_network;
use crate::store::folder::{make_private, names};
use crate::store::record::{self, Lock};

/// Longest name, as a file's (Docker has no bound).
const NAME_MAX: usize = 255;
/// What the folder of a network in the making is called, with something unique behind it.
const DRAFT: &str = ".new-";
/// The subnet of the default network, if nobody has it.
const PREFERRED: &str = "172.30.0.0/16";
/// Options that Docker's default network has (docs.docker.com, "Bridge network driver").
pub const OPTION_BRIDGE: &str = "com.docker.network.bridge.name";
/// Likewise; bytes.
pub const OPTION_MTU: &str = "com.docker.network.driver.mtu";
/// Likewise: containers reach one another.
pub const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
/// Likewise: what goes out has the host's address.
pub const OPTION_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// Likewise: the host's address that ports are published at.
pub const OPTION_HOST_ADDRESS: &str = "com.docker.network.bridge.host_binding_ipv4";

/// All networks of a store.
#[derive(Clone, Debug)]
pub struct Networks {
    containers: Containers,
}

impl Networks {
    /// Those beside these containers; what is missing is made when it is written to.
    #[must_use]
    pub fn of(containers: &Containers) -> Networks {
        Networks { containers: containers.clone() }
    }

    /// The containers that are in them.
    #[must_use]
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    fn all(&self) -> PathBuf {
        self.root().join("networks")
    }

    /// `--root`: what devices are marked with is made of it.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.containers.root()
    }

    /// What the packet filter has of them, and of the containers in them.
    #[must_use]
    pub fn table(&self) -> Table {
        Table::of(self.root())
    }

    /// `--state`.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        self.containers.state_root()
    }

    /// Ids of the networks that have had leases since the host is up.
    ///
    /// # Errors
    /// The system's reason.
    pub fn state_ids(&self) -> Result<Vec<String>> {
        names(&self.state_root().join("networks"))
    }

    /// Removes the leases of a network that is gone.
    ///
    /// # Errors
    /// The system's reason.
    pub fn forget_state(&self, id: &str) -> Result<()> {
        forget(&self.state_folder(id))
    }

    /// Networks that were being made by who was killed at it.
    ///
    /// # Errors
    /// The system's reason.
    pub fn drafts(&self) -> Result<Vec<String>> {
        let mut names = names(&self.all())?;
        names.retain(|name| name.starts_with(DRAFT));
        if !names.is_empty() {
            // Who was at it has the lock until its network has its place.
            let _lock = self.lock()?;
            names.retain(|name| self.all().join(name).exists());
        }
        Ok(names)
    }

    /// Takes one of those away; false if it is gone.
    ///
    /// # Errors
    /// The system's reason.
    pub fn forget_draft(&self, name: &str) -> Result<bool> {
        let _lock = self.lock()?;
        let path = self.all().join(name);
        let is_there = name.starts_with(DRAFT) && !name.contains('/') && path.exists();
        if is_there { forget(&path).map(|()| true) } else { Ok(false) }
    }

    /// Where the leases of a network are.
    #[must_use]
    pub fn state_folder(&self, id: &str) -> PathBuf {
        self.state_root().join("networks").join(id)
    }

    /// Keeps others from making or removing networks.
    ///
    /// # Errors
    /// The system's reason.
    pub fn lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.root().join("networks.lock"))
    }

    /// Keeps others from changing bridges and rules of the kernel.
    ///
    /// # Errors
    /// The system's reason.
    pub fn lock_kernel(&self) -> Result<Lock> {
        Lock::exclusive(&self.state_root().join("networks.lock"))
    }

    /// A network by its full id.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn get(&self, id: &str) -> Result<Option<Network>> {
        match ContainerId::parse(id) {
            Ok(id) => record::read(&self.all().join(id.as_str()).join("network.json")),
            Err(_) => Ok(None),
        }
    }

    /// All of them, in the order of their names.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut found = Vec::new();
        for id in names(&self.all())? {
            found.extend(self.get(&id)?);
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// The network that has this name now.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn named(&self, name: &str) -> Result<Option<Network>> {
        Ok(self.list()?.into_iter().find(|network| network.name == name))
    }

    /// Finds a network by its id, its name, or the beginning of an id that no other one has; the default one is made if
    /// need be.
    ///
    /// # Errors
    /// None, or more than one, in Docker's words; the system's reason.
    pub fn find(&self, word: &str) -> Result<Network> {
        if matches!(word, "" | "default" | DEFAULT) {
            return self.default_network();
        }
        if let Some(network) = self.get(word)? {
            return Ok(network);
        }
        let missing = || Error::not_found(format!("network {word} not found"));
        let all = self.list()?;
        if let Some(network) = all.iter().find(|network| network.name == word) {
            return Ok(network.clone());
        }
        let mut found = all.into_iter().filter(|network| !word.is_empty() && network.id.starts_with(word));
        match (found.next(), found.next()) {
            (Some(network), None) => Ok(network),
            (None, _) => Err(missing()),
            _ => Err(Error::usage(format!("network {word} is ambiguous (2 matches found on ID prefix)"))),
        }
    }

    /// The network that containers are in when nobody says otherwise.
    ///
    /// # Errors
    /// No free subnet; the system's reason.
    pub fn default_network(&self) -> Result<Network> {
        if let Some(network) = self.list()?.into_iter().find(|network| network.name == DEFAULT) {
            return Ok(network);
        }
        let mut network = Network { name: DEFAULT.to_owned(), enable_ipv4: true, ..Network::default() };
        let taken =
            host_network::inside_if_there(self.state_root(), bridge::device_names)?.unwrap_or_default();
        let bridge = bridge::free_default_name(&taken)?;
        network.options = [
            ("com.docker.network.bridge.default_bridge", "true"),
            (OPTION_ICC, "true"),
            (OPTION_MASQUERADE, "true"),
            (OPTION_HOST_ADDRESS, "0.0.0.0"),
            (OPTION_BRIDGE, bridge.as_str()),
            (OPTION_MTU, "1500"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        match self.create(network) {
            // Somebody else was quicker.
            Err(error) if error.kind() == Kind::Conflict => {
                let found = self.list()?.into_iter().find(|network| network.name == DEFAULT);
                found.ok_or(error)
            }
            made => made,
        }
    }

    /// Makes a network of what was asked for: what is missing of its subnets is chosen.
    ///
    /// # Errors
    /// A name or a subnet that another one has, what contradicts itself, in Docker's words; the system's reason. Nothing is
    /// left then.
    pub fn create(&self, mut network: Network) -> Result<Network> {
        check_name(&network.name)?;
        let _lock = self.lock()?;
        let others = self.list()?;
        let is_predefined = NAMES_ONLY.contains(&network.name.as_str());
        if is_predefined || others.iter().any(|other| other.name == network.name) {
            return Err(Error::conflict(format!("network with name {} already exists", network.name)));
        }
        network.id = ContainerId::random()?.to_string();
        network.created = jiff::Timestamp::now().to_string();
        "local".clone_into(&mut network.scope);
        DEFAULT.clone_into(&mut network.driver);
        let bridge = bridge::name(&network);
        if let Some(other) = others.iter().find(|other| bridge::name(other) == bridge) {
            let reason =
                format!("conflicts with network {} ({bridge}): networks have same bridge name", other.id);
            let words = format!("cannot create network {} ({bridge}): {reason}", network.id);
            return Err(Error::conflict(words));
        }
        self.choose_subnets(&mut network, &others)?;
        bridge::mtu(&network)?;
        make_private(&self.all())?;
        let draft = self.all().join(format!("{DRAFT}{}", record::unique_name()));
        forget(&draft)?;
        let made = (|| {
            make_private(&draft)?;
            record::write(&draft.join("network.json"), &network)?;
            let folder = self.all().join(&network.id);
            fs::rename(&draft, &folder).during(|| format!("network {:?}", network.name))?;
            // The default one's comes with the first container: whoever only lists networks changes nothing of the host.
            // Likewise an ordinary user's, whose network there is no place for before.
            let up = || bridge::up(self, &network).map(drop);
            if network.name == DEFAULT {
                Ok(())
            } else {
                host_network::inside_if_there(self.state_root(), up).map(drop)
            }
        })();
        if let Err(error) = made {
            let undone = [forget(&draft), self.forget(&network)];
            return Err(undone
                .into_iter()
                .filter_map(Result::err)
                .fold(error, |error, also| error.and(&also)));
        }
        Ok(network)
    }

    /// Removes a network that no container is in.
    ///
    /// # Errors
    /// One that somebody is in, or that is Docker's own, in Docker's words; the system's reason.
    pub fn remove(&self, containers: &Containers, network: &Network) -> Result<()> {
        let _lock = self.lock()?;
        if self.get(&network.id)?.is_none() {
            return Err(Error::not_found(format!("network {} not found", network.name)));
        }
        // Nobody gets an address from here on: who waits for the lock finds no network behind it.
        let mut leases = Leases::open(&self.state_folder(&network.id))?;
        leases.retain(|lease| is_up(containers, lease))?;
        if !leases.all().is_empty() {
            let who = leases
                .all()
                .iter()
                .map(|lease| format!("name:{:?} id:\"{:.12}\"", lease.name, lease.container));
            let who = who.collect::<Vec<_>>().join(", ");
            let (name, id) = (&network.name, &network.id);
            let words =
                format!("error while removing network: network {name} has active endpoints ({who}) id {id}");
            return Err(Error::conflict(words));
        }
        self.forget(network)
    }

    /// Takes away record, leases and bridge.
    fn forget(&self, network: &Network) -> Result<()> {
        forget(&self.all().join(&network.id))?;
        forget(&self.state_folder(&network.id))?;
        host_network::inside_if_there(self.state_root(), || bridge::down(self, network)).map(drop)
    }

    /// Who has addresses of a network at this moment.
    ///
    /// # Errors
    /// A damaged record; the system's reason.
    pub fn leases(&self, containers: &Containers, id: &str) -> Result<Vec<Lease>> {
        let mut leases = Leases::read(&self.state_folder(id))?;
        let mut is_broken = None;
        leases.retain(|lease| {
            is_up(containers, lease).unwrap_or_else(|error| {
                is_broken = Some(error);
                false
            })
        });
        is_broken.map_or(Ok(leases), Err)
    }

    /// Completes subnets and gateways, and checks that nobody else has them.
    fn choose_subnets(&self, network: &mut Network, others: &[Network]) -> Result<()> {
        let mut taken = Vec::new();
        for other in others {
            taken.extend(Part::all(other)?.into_iter().map(|part| part.subnet));
        }
        let mut routes = Netlink::open()?.destinations()?;
        if host_network::is_own() {
            let own = host_network::inside_if_there(self.state_root(), || Netlink::open()?.destinations())?;
            routes.extend(own.into_iter().flatten());
        }
        for config in &network.ipam.config {
            let subnet = Subnet::parse(&config.subnet)?;
            let is_known = taken.iter().any(|other| other.overlaps(subnet));
            // A way to more than the subnet goes on beside it; one to a part of it would be cut off, or cut it off.
            if is_known || routes.iter().any(|route| subnet.covers(*route)) {
                let words = format!("Pool overlaps with other one on this address space: {subnet}");
                return Err(Error::conflict(format!("invalid pool request: {words}")));
            }
            taken.push(subnet);
        }
        let has = |network: &Network, v4: bool| {
            network.ipam.config.iter().any(|config| config.subnet.contains(':') != v4)
        };
        let is_taken = |subnet: Subnet| taken.iter().chain(&routes).any(|other| other.overlaps(subnet));
        if network.enable_ipv4 && !has(network, true) {
            let preferred = if network.name == DEFAULT { Some(Subnet::parse(PREFERRED)?) } else { None };
            let chosen = address::free_ipv4(preferred, is_taken);
            let none = || Error::conflict("all predefined address pools have been fully subnetted");
            network.ipam.config.insert(0, of_subnet(chosen.ok_or_else(none)?));
        }
        if network.enable_ipv6 && !has(network, false) {
            let mut random = [0; 5];
            let digits = u64::from_str_radix(&ContainerId::random()?.as_str()[..10], 16).unwrap_or_default();
            random.copy_from_slice(&digits.to_be_bytes()[3..]);
            network.ipam.config.push(of_subnet(address::unique_local(random)));
        }
        complete(&mut network.ipam)
    }
}

fn of_subnet(subnet: Subnet) -> IpamConfig {
    IpamConfig { subnet: subnet.to_string(), ..IpamConfig::default() }
}

/// Gateways where none are given, the first address as Docker has it; what is not of its subnet is refused.
fn complete(ipam: &mut Ipam) -> Result<()> {
    for config in &mut ipam.config {
        let subnet = Subnet::parse(&config.subnet)?;
        let is_of = |text: &str| text.parse().is_ok_and(|address: IpAddr| subnet.is_for_hosts(address));
        if !config.ip_range.is_empty() {
            let (range, _) = Subnet::parse_address(&config.ip_range)?;
            if !subnet.covers(range) {
                let words = format!("invalid ip-range {}: it is not within subnet {subnet}", config.ip_range);
                return Err(Error::usage(words));
            }
        }
        let mut all = config.auxiliary_addresses.values();
        let wrong = all
            .find(|text| !is_of(text))
            .into_iter()
            .chain(Some(&config.gateway).filter(|text| !text.is_empty() && !is_of(text)));
        if let Some(text) = wrong.into_iter().next() {
            return Err(Error::usage(format!(
                "invalid address {text}: it does not belong to subnet {subnet}"
            )));
        }
        if config.gateway.is_empty() {
            let aux: Vec<IpAddr> =
                config.auxiliary_addresses.values().filter_map(|text| text.parse().ok()).collect();
            let gateway = subnet.first_free(subnet, |address| aux.contains(&address));
            let none = || Error::usage(format!("subnet {subnet} has no room for a gateway"));
            config.gateway = gateway.ok_or_else(none)?.to_string();
        }
    }
    Ok(())
}

/// Refuses what Docker refuses, and what could be no name of a file.
fn check_name(name: &str) -> Result<()> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_plain = begins && name.bytes().all(is_fit) && name.len() <= NAME_MAX;
    if is_plain || name == DEFAULT {
        return Ok(());
    }
    let words = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed";
    Err(Error::usage(format!("invalid network name {name:?}: {words}")))
}

/// May the container that has this lease run?
///
/// # Errors
/// The system's reason.
pub fn is_up(containers: &Containers, lease: &Lease) -> Result<bool> {
    match ContainerId::parse(&lease.container) {
        Ok(id) => containers.may_run(&id),
        Err(_) => Ok(false),
    }
}
