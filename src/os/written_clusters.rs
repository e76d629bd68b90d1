//! What was written to an image whose file never changes, in memory: whole clusters, which copies of the contents at
//! earlier points in time (`SavedWrites`) share until they are written again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are kept together.
pub(super) const CLUSTER: u64 = 4096;

/// The contents of clusters, by their number.
type Clusters = HashMap<u64, Arc<Cluster>>;

/// A cluster, which is counted while it exists.
#[derive(Debug)]
struct Cluster {
    bytes: [u8; CLUSTER as usize],
    count: Arc<AtomicU64>,
}

impl Cluster {
    fn new(bytes: [u8; CLUSTER as usize], count: &Arc<AtomicU64>) -> Cluster {
        count.fetch_add(1, Ordering::Relaxed);
        Cluster { bytes, count: count.clone() }
    }
}

impl Clone for Cluster {
    fn clone(&self) -> Cluster {
        Cluster::new(self.bytes, &self.count)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All that was written to an image up to a point in time.
#[derive(Clone, Debug, Default)]
pub struct SavedWrites(Arc<Clusters>);

/// What was written to an image.
#[derive(Debug)]
pub(super) struct WrittenClusters {
    clusters: Arc<Clusters>,
    /// Clusters in memory, those that are only in [`SavedWrites`] included, and the most there may be.
    count: Arc<AtomicU64>,
    most: u64,
}

impl WrittenClusters {
    /// Nothing. It grows, together with what is saved of it, to `most` bytes.
    pub(super) fn new(most: u64) -> WrittenClusters {
        WrittenClusters { clusters: Arc::default(), count: Arc::default(), most: most / CLUSTER }
    }

    /// The cluster with this number, if any of it was written.
    pub(super) fn get(&self, number: u64) -> Option<&[u8; CLUSTER as usize]> {
        self.clusters.get(&number).map(|cluster| &cluster.bytes)
    }

    /// The cluster with this number, to be written. The first time it has the contents that `file` reads.
    ///
    /// # Errors
    ///
    /// That of `file`; [`io::ErrorKind::StorageFull`] if a new cluster would be one too many.
    pub(super) fn get_mut(
        &mut self,
        number: u64,
        file: impl FnOnce(&mut [u8; CLUSTER as usize]) -> io::Result<()>,
    ) -> io::Result<&mut [u8; CLUSTER as usize]> {
        let is_shared = |cluster: &Arc<Cluster>| Arc::strong_count(cluster) > 1;
        let shared_map = Arc::strong_count(&self.clusters) > 1;
        let grows = self.clusters.get(&number).is_none_or(|cluster| shared_map || is_shared(cluster));
        if grows && self.count.load(Ordering::Relaxed) >= self.most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let clusters = Arc::make_mut(&mut self.clusters);
        let cluster = match clusters.entry(number) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let mut bytes = [0; CLUSTER as usize];
                file(&mut bytes)?;
                entry.insert(Arc::new(Cluster::new(bytes, &self.count)))
            }
        };
        Ok(&mut Arc::make_mut(cluster).bytes)
    }

    /// The numbers of all clusters that were written.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.clusters.keys().copied()
    }

    /// The contents now.
    pub(super) fn save(&self) -> SavedWrites {
        SavedWrites(self.clusters.clone())
    }

    /// Goes back to `saved`; calls `changed` with the number of each cluster whose contents may be others then.
    pub(super) fn restore(&mut self, saved: &SavedWrites, mut changed: impl FnMut(u64)) {
        let before = std::mem::replace(&mut self.clusters, saved.0.clone());
        for (number, cluster) in before.iter() {
            if self.clusters.get(number).is_none_or(|now| !Arc::ptr_eq(now, cluster)) {
                changed(*number);
            }
        }
        self.clusters
            .keys()
            .filter(|number| !before.contains_key(number))
            .for_each(|number| changed(*number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(written: &mut WrittenClusters, number: u64, value: u8) -> io::Result<()> {
        written.get_mut(number, |_| Ok(())).map(|bytes| bytes[0] = value)
    }

    fn first(written: &WrittenClusters, number: u64) -> Option<u8> {
        written.get(number).map(|bytes| bytes[0])
    }

    #[test]
    fn what_was_saved_stays_and_comes_back_any_number_of_times() {
        let mut written = WrittenClusters::new(1 << 20);
        put(&mut written, 1, 1).unwrap();
        put(&mut written, 2, 2).unwrap();
        let saved = written.save();
        for _ in 0..2 {
            put(&mut written, 2, 22).unwrap();
            put(&mut written, 3, 33).unwrap();
            let mut changed = Vec::new();
            written.restore(&saved, |number| changed.push(number));
            changed.sort_unstable();
            assert_eq!(changed, [2, 3]);
            assert_eq!([1, 2, 3].map(|number| first(&written, number)), [Some(1), Some(2), None]);
        }
        let mut changed = Vec::new();
        written.restore(&SavedWrites::default(), |number| changed.push(number));
        changed.sort_unstable();
        assert_eq!((changed, written.numbers().count()), (vec![1, 2], 0));
    }

    #[test]
    fn saved_clusters_count_until_they_are_dropped() {
        let mut written = WrittenClusters::new(3 * CLUSTER);
        put(&mut written, 1, 1).unwrap();
        put(&mut written, 2, 2).unwrap();
        let saved = written.save();
        put(&mut written, 1, 11).unwrap();
        // It is written in place, as it is shared no more.
        put(&mut written, 1, 12).unwrap();
        for number in [2, 3] {
            assert_eq!(put(&mut written, number, 9).unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!([1, 2, 3].map(|number| first(&written, number)), [Some(12), Some(2), None]);
        drop(saved);
        put(&mut written, 2, 22).unwrap();
        put(&mut written, 3, 33).unwrap();
        assert_eq!(put(&mut written, 4, 9).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_cluster_that_cannot_be_read_is_not_written() {
        let mut written = WrittenClusters::new(1 << 20);
        let failing = written.get_mut(1, |_| Err(io::ErrorKind::UnexpectedEof.into()));
        assert!(failing.is_err());
        assert_eq!(first(&written, 1), None);
    }
}
