//! Real-time priority and locked memory, in a process of its own since they change it.

use vouchd_net::realtime::{NotGranted, lock_memory, real_time};

#[test]
fn locked_memory_shows_in_the_status_or_the_error_says_what_to_grant() {
    match lock_memory() {
        Ok(()) => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            assert_ne!(locked.trim(), "0 kB");
            // Later allocations are locked, too, when they are touched.
            assert_eq!(vec![1_u8; 16 << 20].iter().map(|byte| usize::from(*byte)).sum::<usize>(), 16 << 20);
        }
        Err(error) => assert!(error.to_string().contains("LimitMEMLOCK"), "{error}"),
    }
}

#[test]
fn only_the_calling_thread_gets_real_time_priority() {
    // SAFETY: takes no pointer; 0 is the calling thread.
    let policy = || unsafe { libc::sched_getscheduler(0) };
    let ordinary = policy();
    let granted = std::thread::spawn(move || {
        real_time(5).map(|()| {
            assert_eq!(policy(), libc::SCHED_RR | libc::SCHED_RESET_ON_FORK);
            assert_eq!(std::thread::spawn(policy).join().unwrap(), libc::SCHED_OTHER);
        })
    })
    .join()
    .unwrap();
    assert_eq!(policy(), ordinary);
    if let Err(error) = granted {
        assert!(matches!(error, NotGranted::PriorityLimit { priority: 5, .. }), "{error}");
    }
}
