use super::*;

#[test]
fn the_kernel_takes_the_program() {
    let maps = FastMaps::create(16, 16).unwrap();
    for medium in [Medium::Ethernet, Medium::Ip] {
        if let Err(error) = maps.program(LinkId(0), medium) {
            panic!("{error}");
        }
    }
}
