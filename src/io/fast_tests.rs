use super::*;
use crate::base::{Endpoint, Proto};
use crate::fastpath::abi::{Method, Way};

const ENTRIES: usize = 5000;

/// Maps, if this process may make some.
fn maps() -> Option<FastMaps> {
    match FastMaps::create(ENTRIES as u32, 16, true) {
        Ok(maps) => Some(maps),
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            crate::io::print_error(&format!("not tested: without rights there are no maps: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn numbered(number: usize) -> (Key, Entry) {
    let addr = std::net::Ipv4Addr::from(0xc000_0200 + (number as u32 >> 8));
    let endpoint = Endpoint::new(addr.into(), number as u16);
    let way = Way { neighbour: number as u32, ..Way::default() };
    let (request, reply) = (way, Way::default());
    let (method, keeps_df, shift) = (Method::Nat, false, number as u32);
    let entry = Entry {
        virt: endpoint,
        server: endpoint,
        other: endpoint,
        method,
        keeps_df,
        shift,
        born: 0,
        joined: Default::default(),
        request,
        reply,
    };
    (Key { proto: Proto::TCP, endpoint }, entry)
}

#[test]
fn the_kernel_takes_the_program() {
    let Some(maps) = maps() else { return };
    for medium in [Medium::Ethernet, Medium::Ip] {
        if let Err(error) = maps.program(LinkId(0), medium) {
            panic!("{error}");
        }
    }
}

#[test]
fn a_program_that_the_verifier_refuses_is_refused_with_its_words() {
    let Some(maps) = maps() else { return };
    // r0 = *(u64 *)(r1 + 0): the context has no such field; exit.
    let code = [[0x79, 0x10, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].concat();
    let said =
        Program::load("tapvs_test", &code, &[(0, Constant::Map(&maps.flows))]).map(drop).unwrap_err().to_string();
    assert!(said.contains("its verifier says: invalid bpf_context access"), "{said}");
    let empty = Program::load("tapvs_test", &[], &[]).map(drop).unwrap_err();
    assert_eq!(empty.verifier, "");
}

#[test]
fn an_entry_is_added_once_read_and_taken() {
    let Some(maps) = maps() else { return };
    let (key, entry) = numbered(7);
    maps.add(&key, &entry).unwrap();
    assert_eq!(maps.add(&key, &entry).unwrap_err().raw_os_error(), Some(libc::EEXIST));
    assert_eq!(maps.get(&key).unwrap(), Some(entry));
    assert_eq!(
        (maps.take(&key).unwrap(), maps.take(&key).unwrap(), maps.get(&key).unwrap()),
        (Some(entry), None, None)
    );
}

#[test]
fn entries_are_set_read_and_removed_many_at_a_time() {
    let Some(maps) = maps() else { return };
    let all: Vec<(Key, Entry)> = (0..ENTRIES).map(numbered).collect();
    maps.set_all(&all).unwrap();
    let (key, entry) = numbered(ENTRIES);
    assert_eq!(maps.add(&key, &entry).unwrap_err().raw_os_error(), Some(libc::E2BIG), "no room");
    let (mut place, mut read) = (None, Vec::new());
    loop {
        place = maps.read(place, 1000, &mut |key, entry| read.push((key, entry))).unwrap();
        if place.is_none() {
            break;
        }
    }
    read.sort_by_key(|(_, entry)| entry.shift);
    assert_eq!(read, all);
    // Keys that are not there do not matter.
    let keys: Vec<Key> = (ENTRIES / 2..ENTRIES + 9).rev().map(|number| numbered(number).0).collect();
    maps.remove_all(&keys).unwrap();
    let left = (0..ENTRIES).filter(|number| maps.get(&numbered(*number).0).unwrap().is_some()).count();
    assert_eq!(left, ENTRIES / 2);
}

#[test]
fn another_process_has_the_maps_by_their_descriptors() {
    let Some(maps) = maps() else { return };
    let (key, entry) = numbered(3);
    let mut first: Vec<_> = maps.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let rest = first.split_off(4);
    let others = FastMaps::inherited(first.try_into().unwrap(), rest, code::OF_FLOWS, code::OF_STATIONS);
    others.add(&key, &entry).unwrap();
    assert_eq!((maps.get(&key).unwrap(), maps.totals().unwrap()), (Some(entry), Totals::default()));
}
