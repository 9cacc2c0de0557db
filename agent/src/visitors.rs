//! Who is connected. There is a fixed number of places, and when all are taken, whoever has waited longest without a
//! request has to go: clients that only hold connections open never keep Prometheus out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::patience::lock;

/// All places.
#[derive(Debug)]
pub struct Visitors {
    places: Arc<Semaphore>,
    number: usize,
    idle: Mutex<Idle>,
}

/// Those without a request under way, in the order in which they became idle.
#[derive(Debug, Default)]
struct Idle {
    next: u64,
    doors: BTreeMap<u64, Arc<Notify>>,
}

impl Idle {
    fn admit(&mut self, door: Arc<Notify>) -> u64 {
        self.next += 1;
        self.doors.insert(self.next, door);
        self.next
    }
}

/// One taken place.
#[derive(Debug)]
pub struct Visitor {
    visitors: Arc<Visitors>,
    door: Arc<Notify>,
    turn: Mutex<Option<u64>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Visitors {
    /// Opens a number of places.
    pub fn new(number: usize) -> Arc<Visitors> {
        Arc::new(Visitors {
            places: Arc::new(Semaphore::new(number)),
            number,
            idle: Mutex::default(),
        })
    }

    /// Takes a place, if need be that of the one who has been idle for longest.
    pub async fn enter(self: &Arc<Visitors>) -> Visitor {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_) => {
                if let Some((_, door)) = lock(&self.idle).doors.pop_first() {
                    door.notify_one();
                }
                self.places.clone().acquire_owned().await
            }
        };
        let visitor = Visitor {
            visitors: self.clone(),
            door: Arc::default(),
            turn: Mutex::default(),
            _place: place.ok(),
        };
        visitor.rest();
        visitor
    }

    /// Waits until everybody has left, but not longer than this.
    pub async fn leave(&self, patience: Duration) {
        let all = u32::try_from(self.number).unwrap_or(u32::MAX);
        // Whoever is not done by then is cut off when the process ends.
        let _ = timeout(patience, self.places.acquire_many(all)).await;
    }
}

impl Visitor {
    /// Begins a request: from now on nobody takes the place.
    pub fn work(&self) {
        let turn = lock(&self.turn).take();
        if let Some(turn) = turn {
            lock(&self.visitors.idle).doors.remove(&turn);
        }
    }

    /// Ends a request.
    pub fn rest(&self) {
        self.work();
        let turn = lock(&self.visitors.idle).admit(self.door.clone());
        *lock(&self.turn) = Some(turn);
    }

    /// Waits until somebody else needs the place.
    pub async fn evicted(&self) {
        self.door.notified().await;
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_one_has_to_go() {
        let visitors = Visitors::new(3);
        let (first, second, third) =
            (visitors.enter().await, visitors.enter().await, visitors.enter().await);
        first.work();
        second.work();
        second.rest();
        let fourth = tokio::spawn({
            let visitors = visitors.clone();
            async move { visitors.enter().await }
        });
        third.evicted().await;
        drop(third);
        let fourth = fourth.await.unwrap();
        assert_eq!(visitors.places.available_permits(), 0);
        drop((first, second, fourth));
        assert_eq!(visitors.places.available_permits(), 3);
        assert!(lock(&visitors.idle).doors.is_empty());
    }

    #[tokio::test]
    async fn nobody_is_sent_away_in_the_middle_of_a_request() {
        let visitors = Visitors::new(1);
        let first = visitors.enter().await;
        first.work();
        assert!(timeout(Duration::from_millis(50), visitors.enter()).await.is_err());
        assert!(timeout(Duration::from_millis(50), first.evicted()).await.is_err());
        drop(first);
        visitors.enter().await;
        visitors.leave(Duration::from_secs(10)).await;
    }
}
