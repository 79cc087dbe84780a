//! The imported lists and blocked systems in force, by name, and the layers that they come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::layer_index::LayerIndex;
use crate::words::clock::{Step, Wall};
use crate::words::layer::{AsnBlock, Layer, NamedList};
use crate::words::network_set::NetworkSet;
use crate::words::rule::{ListName, Rule};

/// Lists and systems.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Imported lists.
    pub lists: BTreeMap<ListName, NamedList>,
    /// Blocked systems, each with what the ASN table says it announces.
    pub asns: BTreeMap<u32, (AsnBlock, Arc<NetworkSet>)>,
    /// Whom no list or system may block, whatever it holds: this host's own addresses and
    /// lifelines, and whom the configuration names. Cut out of each layer.
    pub spared: Vec<IpNet>,
}

/// Layers made ready to take effect, beside those in force: the work that grows with them is done
/// before anybody has to wait.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    pub(super) layers: Layers,
    /// Of [`Self::layers`], always.
    pub(super) index: LayerIndex,
}

impl Prepared {
    /// Indexes them. Cost: linear in all networks of all layers.
    #[must_use]
    pub fn new(layers: Layers) -> Self {
        let index = LayerIndex::new(layers.compile());
        Self { layers, index }
    }
}

impl Layers {
    /// How many layers they come to.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        let groups = self.lists.values().map(|list| list.groups.len());
        groups.sum::<usize>() + self.asns.len()
    }

    /// Whether [`Self::expire`] would take anything out.
    #[must_use]
    pub fn has_ended(&self, now: Wall) -> bool {
        let of_groups = self.lists.values().flat_map(|list| &list.groups);
        let of_groups = of_groups.map(|group| group.expires);
        let of_asns = self.asns.values().map(|(block, _networks)| block.expires);
        of_groups.chain(of_asns).any(|end| is_over(end, now))
    }

    /// Whether any of them has an address in common with one of `networks`.
    #[must_use]
    pub fn touch(&self, networks: &[IpNet]) -> bool {
        let of_lists = self.lists.values().flat_map(|list| &list.groups);
        let of_lists = of_lists.map(|group| &group.networks);
        let of_asns = self.asns.values().map(|(_block, networks)| networks);
        let mut sets = of_lists.chain(of_asns);
        sets.any(|set| networks.iter().any(|network| set.touches(network)))
    }

    /// What they come to.
    #[must_use]
    pub fn compile(&self) -> Vec<Layer> {
        let mut layers = vec![];
        for list in self.lists.values() {
            let terms = Arc::new(list.terms.clone());
            layers.extend(list.groups.iter().map(|group| Layer {
                rule: Rule::List(list.name.clone()),
                terms: Arc::clone(&terms),
                expires: group.expires,
                networks: self.left_of(&group.networks),
            }));
        }
        for (block, networks) in self.asns.values() {
            layers.push(Layer {
                rule: Rule::Asn(block.number),
                terms: Arc::new(block.terms.clone()),
                expires: block.expires,
                networks: self.left_of(networks),
            });
        }
        layers
    }

    /// Whether any of them ends by itself.
    pub(super) fn have_ends(&self) -> bool {
        let groups = self.lists.values().flat_map(|list| &list.groups);
        let of_groups = groups.map(|group| group.expires);
        let of_asns = self.asns.values().map(|(block, _networks)| block.expires);
        of_groups.chain(of_asns).flatten().next().is_some()
    }

    /// Moves every end.
    pub(super) fn shift_ends(&mut self, step: Step) {
        let groups = self.lists.values_mut().flat_map(|list| &mut list.groups);
        let groups = groups.map(|group| &mut group.expires);
        let asns = self.asns.values_mut();
        let asns = asns.map(|(block, _networks)| &mut block.expires);
        for end in groups.chain(asns).flatten() {
            *end = end.shifted(step);
        }
    }

    /// Takes out what has ended. Returns the rules of which something has.
    pub fn expire(&mut self, now: Wall) -> Vec<Rule> {
        let mut ended = vec![];
        self.lists.retain(|name, list| {
            let n_groups = list.groups.len();
            list.groups.retain(|group| !is_over(group.expires, now));
            if list.groups.len() < n_groups {
                ended.push(Rule::List(name.clone()));
            }
            !list.groups.is_empty() || n_groups == 0
        });
        self.asns.retain(|number, (block, _networks)| {
            let ends = is_over(block.expires, now);
            if ends {
                ended.push(Rule::Asn(*number));
            }
            !ends
        });
        ended
    }

    fn left_of(&self, networks: &Arc<NetworkSet>) -> Arc<NetworkSet> {
        let is_hit = self.spared.iter().any(|spared| networks.touches(spared));
        if is_hit {
            Arc::new(networks.without(&self.spared))
        } else {
            Arc::clone(networks)
        }
    }
}

fn is_over(end: Option<Wall>, now: Wall) -> bool {
    end.is_some_and(|end| end <= now)
}
