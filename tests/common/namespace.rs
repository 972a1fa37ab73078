//! A network of its own for a program, whose cables can be cut: packets are
//! lost then, and nobody is told.

use std::process::Command;

/// A network namespace with some cables to the machine's own network.
pub struct Namespace {
    name: String,
    /// The second number of the addresses.
    net: u8,
    cables: usize,
}

impl Namespace {
    /// A namespace with so many cables; the reason why there can be none.
    pub fn new(cables: usize) -> Result<Self, String> {
        let id = std::process::id();
        let namespace = Self { name: format!("kw{id}"), net: (id % 200) as u8 + 16, cables };
        ip(&["netns", "add", &namespace.name])?;
        let inside = |arguments: &[&str]| {
            let all = [&["-n", &namespace.name], arguments].concat();
            ip(&all)
        };
        inside(&["link", "set", "lo", "up"])?;
        for cable in 0..cables {
            let (near, far) = (namespace.near(cable), format!("kf{cable}"));
            let name = namespace.name.as_str();
            ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name])?;
            ip(&["addr", "add", &format!("{}/24", namespace.address(cable)), "dev", &near])?;
            ip(&["link", "set", &near, "up"])?;
            let own = format!("10.{}.{cable}.2/24", namespace.net);
            inside(&["addr", "add", &own, "dev", &far])?;
            inside(&["link", "set", &far, "up"])?;
        }
        Ok(namespace)
    }

    /// The machine's own addresses at the ends of the cables.
    pub fn outside(&self) -> Vec<String> {
        (0..self.cables).map(|cable| self.address(cable)).collect()
    }

    /// The command, to be run inside.
    pub fn inside(&self, command: Command) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped.args(["netns", "exec", &self.name]).arg(command.get_program());
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                wrapped.env(name, value);
            }
        }
        wrapped
    }

    /// Cuts a cable.
    pub fn cut(&self, cable: usize) {
        ip(&["link", "set", &self.near(cable), "down"]).unwrap();
    }

    /// Mends it.
    pub fn mend(&self, cable: usize) {
        ip(&["link", "set", &self.near(cable), "up"]).unwrap();
    }

    fn near(&self, cable: usize) -> String {
        format!("{}n{cable}", self.name)
    }

    fn address(&self, cable: usize) -> String {
        format!("10.{}.{cable}.1", self.net)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cables go with it.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("the command ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
