//! Indices with a type, so that one cannot be used for another.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub $inner);

        impl $name {
            /// As an index into the table it belongs to.
            #[inline]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A link: one TAP of the director.
    LinkId(u8)
);
id!(
    /// A virtual service, by its slot.
    ServiceId(u32)
);
id!(
    /// A dest (real server of one service), by its slot.
    ///
    /// A slot is not given to another dest while a conn still refers to it.
    DestId(u32)
);
id!(
    /// A conn, by its slot in the flow table.
    ConnId(u32)
);
