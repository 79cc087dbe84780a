//! All layers in one sorted array a family, each network with the next wider one that holds it:
//! what covers a network is one binary search and a short walk upwards, however many lists there
//! are. Rebuilt as a whole when a layer changes; pure.

use std::net::IpAddr;

use super::layer::Layer;
use crate::words::network_set::{Address, Prefix};

/// The networks of all layers.
#[derive(Clone, Debug, Default)]
pub struct LayerIndex {
    layers: Vec<Layer>,
    v4: Vec<Node<u32>>,
    v6: Vec<Node<u128>>,
}

/// A network of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Node<A> {
    address: A,
    /// Index of the next wider network that holds this one, or [`NO_PARENT`].
    parent: u32,
    layer: u16,
    len: u8,
}

impl<A: Address> Node<A> {
    /// Its network.
    #[must_use]
    pub const fn prefix(&self) -> Prefix<A> {
        Prefix {
            address: self.address,
            len: self.len,
        }
    }

    /// Index of its layer.
    #[must_use]
    pub const fn layer(&self) -> usize {
        self.layer as usize
    }
}

const NO_PARENT: u32 = u32::MAX;

/// Most layers: lists, groups within them, and systems together.
pub const MAX_LAYERS: usize = 1 << 16;
/// Most networks of a family in all layers together.
pub const MAX_NETWORKS: usize = 1 << 28;

/// A family of addresses, and where its networks stand.
pub trait Family: Address {
    /// Its networks, in order.
    fn nodes(index: &LayerIndex) -> &[Node<Self>];
}

impl Family for u32 {
    fn nodes(index: &LayerIndex) -> &[Node<Self>] {
        &index.v4
    }
}

impl Family for u128 {
    fn nodes(index: &LayerIndex) -> &[Node<Self>] {
        &index.v6
    }
}

impl LayerIndex {
    /// Indexes layers; those beyond [`MAX_LAYERS`] and networks beyond [`MAX_NETWORKS`] are left
    /// out, which callers check before.
    #[must_use]
    pub fn new(mut layers: Vec<Layer>) -> Self {
        layers.truncate(MAX_LAYERS);
        let v4 = nodes(&layers, |layer| layer.networks.v4());
        let v6 = nodes(&layers, |layer| layer.networks.v6());
        Self { layers, v4, v6 }
    }

    /// The layers; a [`Node`] names one by its index.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How many networks the layers have together.
    #[must_use]
    pub const fn n_networks(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Layers with a network that holds the whole of `prefix`, most specific first, each with that
    /// network.
    pub fn covering<A: Family>(
        &self,
        prefix: Prefix<A>,
    ) -> impl Iterator<Item = (Prefix<A>, &Layer)> {
        let nodes = A::nodes(self);
        let after = nodes.partition_point(|node| node.prefix() <= prefix);
        let mut next = after.checked_sub(1);
        std::iter::from_fn(move || {
            loop {
                let node = nodes.get(next?)?;
                next = (node.parent != NO_PARENT).then_some(node.parent as usize);
                if node.prefix().contains(&prefix) {
                    return Some((node.prefix(), &self.layers[node.layer()]));
                }
            }
        })
    }

    /// [`Self::covering`] of an address, canonical.
    #[must_use]
    pub fn covering_address(&self, ip: IpAddr) -> Vec<(ipnet::IpNet, &Layer)> {
        match ip {
            IpAddr::V4(ip) => (self.covering(Prefix::host(u32::from(ip))))
                .map(|(prefix, layer)| (prefix.network(), layer))
                .collect(),
            IpAddr::V6(ip) => (self.covering(Prefix::host(u128::from(ip))))
                .map(|(prefix, layer)| (prefix.network(), layer))
                .collect(),
        }
    }

    /// Networks within `prefix`, itself included, in order.
    #[must_use]
    pub fn within<A: Family>(&self, prefix: Prefix<A>) -> &[Node<A>] {
        let nodes = A::nodes(self);
        let from = nodes.partition_point(|node| node.prefix() < prefix);
        let last = prefix.last();
        let within = &nodes[from..];
        &within[..within.partition_point(|node| node.address <= last)]
    }
}

fn nodes<'a, A: Address>(
    layers: &'a [Layer],
    networks: impl Fn(&'a Layer) -> &'a [Prefix<A>],
) -> Vec<Node<A>> {
    let n_networks = layers.iter().map(|layer| networks(layer).len()).sum();
    let mut nodes = Vec::with_capacity(usize::min(n_networks, MAX_NETWORKS));
    for (layer, number) in layers.iter().zip(0..=u16::MAX) {
        let room = MAX_NETWORKS - nodes.len();
        nodes.extend(networks(layer).iter().take(room).map(|prefix| Node {
            address: prefix.address,
            parent: NO_PARENT,
            layer: number,
            len: prefix.len,
        }));
    }
    // Stable: it merges the sorted runs that the layers are.
    nodes.sort_by_key(|node| (node.address, node.len));
    // Indices of the networks that hold the one at hand, wide before narrow.
    let mut open: Vec<u32> = vec![];
    // At most MAX_NETWORKS, so that an index fits.
    for (index, number) in (0..nodes.len()).zip(0_u32..) {
        let prefix = nodes[index].prefix();
        while let Some(top) = open.last() {
            if nodes[*top as usize].prefix().contains(&prefix) {
                break;
            }
            open.pop();
        }
        if let Some(top) = open.last() {
            nodes[index].parent = *top;
        }
        if prefix.len < A::BITS
            || nodes
                .get(index + 1)
                .is_some_and(|next| next.prefix() == prefix)
        {
            open.push(number);
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::words::block::{Effect, Scope};
    use crate::words::clock::Wall;
    use crate::words::layer::Terms;
    use crate::words::network_set::NetworkSet;
    use crate::words::rule::Rule;

    fn layer(number: u32, networks: NetworkSet) -> Layer {
        Layer {
            rule: Rule::Asn(number),
            terms: Arc::new(Terms {
                scope: Scope::Listeners,
                effect: Effect::Drop,
                created: Wall::default(),
                reason: String::new(),
            }),
            expires: None,
            networks: Arc::new(networks),
        }
    }

    proptest! {
        #[test]
        fn covering_and_within_are_what_a_walk_finds(
            layers in prop::collection::vec(
                prop::collection::vec((0_u32..64, 24_u8..=32), 0..6), 0..4),
            asked in (0_u32..64, 24_u8..=32),
        ) {
            let sets: Vec<NetworkSet> = layers
                .iter()
                .map(|parts| {
                    let parts = parts.iter();
                    parts.map(|(a, len)| a.truncated(*len).network(*len)).collect()
                })
                .collect();
            let layers = sets.iter().cloned().zip(1..).map(|(set, n)| layer(n, set)).collect();
            let index = LayerIndex::new(layers);
            let prefix = Prefix { address: asked.0.truncated(asked.1), len: asked.1 };
            let covering: Vec<_> = index
                .covering(prefix)
                .map(|(prefix, layer)| (prefix.len, layer.rule.to_string()))
                .collect();
            prop_assert!(covering.iter().rev().map(|(len, _)| *len).is_sorted());
            let mut found = covering;
            found.sort();
            let mut expected = vec![];
            let mut n_within = 0;
            for (set, number) in sets.iter().zip(1..) {
                for member in set.v4() {
                    if member.contains(&prefix) {
                        expected.push((member.len, format!("AS{number}")));
                    }
                    n_within += usize::from(prefix.contains(member));
                }
            }
            expected.sort();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(index.within(prefix).len(), n_within);
        }
    }
}
