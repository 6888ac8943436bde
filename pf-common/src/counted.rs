//! Enums whose variants are counters: dense numbers and fixed names.

macro_rules! counted {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All variants in the order of their counters.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The name an operator sees.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The index of the counter.
            #[inline(always)]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
