//! TCP as IPVS watches it: three tables (and three stricter ones), no sequence numbers, no validation.
//!
//! The event of a segment is, in this order, RST, SYN, FIN, ACK; with none of them the conn is closed.

use super::event::Event;
use crate::wire::TcpFlags;

/// States, numbered as in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// Before the first segment.
    None,
    /// Both sides have spoken.
    Established,
    /// The real server opens (active FTP).
    SynSent,
    /// The client's SYN was seen.
    SynRecv,
    /// The real server, or in one-way conns the client, has finished.
    FinWait,
    /// Both have finished.
    TimeWait,
    /// Reset.
    Close,
    /// The client has finished.
    CloseWait,
    /// Not reached by these tables.
    LastAck,
    /// Waits for an announced data conn (FTP).
    Listen,
    /// Under SYN-flood defence: not confirmed by an ACK yet.
    SynAck,
}

use TcpState::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI, None as NO,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// Rows: SYN, FIN, ACK, RST; columns: the present state in the order of `TcpState`.
type Table = [[TcpState; 11]; 4];

const INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
];

const OUTPUT: Table = [
    [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

const INPUT_ONLY: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

/// The same under SYN-flood defence (`secure_tcp`): a client must answer the SYN-ACK before it counts as established.
const SECURE_INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
    [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

const SECURE_OUTPUT: Table = [
    [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

const SECURE_INPUT_ONLY: Table = [
    [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

/// Which tables hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tables {
    /// Always but under attack.
    Normal,
    /// `secure_tcp`.
    Secure,
}

impl TcpState {
    const ALL: [TcpState; 11] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

    /// The state with a number; a number that none has is `None`.
    #[inline]
    pub fn from_number(number: u8) -> TcpState {
        TcpState::ALL.get(usize::from(number)).copied().unwrap_or(NO)
    }

    /// Name in listings.
    pub fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
        }
    }

    /// Counts as ActiveConn: half-open conns do.
    pub fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }
}

/// The state after one segment.
#[inline]
pub(super) fn next(state: TcpState, event: Event, flags: TcpFlags, tables: Tables) -> TcpState {
    let row = if flags.rst() {
        3
    } else if flags.syn() {
        0
    } else if flags.fin() {
        1
    } else if flags.ack() {
        2
    } else {
        return CL;
    };
    let table = match (tables, event) {
        (Tables::Normal, Event::Input) => &INPUT,
        (Tables::Normal, Event::Output) => &OUTPUT,
        (Tables::Normal, Event::InputOnly) => &INPUT_ONLY,
        (Tables::Secure, Event::Input) => &SECURE_INPUT,
        (Tables::Secure, Event::Output) => &SECURE_OUTPUT,
        (Tables::Secure, Event::InputOnly) => &SECURE_INPUT_ONLY,
    };
    table[row][state as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: TcpFlags = TcpFlags(0x02);
    const ACK: TcpFlags = TcpFlags(0x10);
    const SYN_ACK: TcpFlags = TcpFlags(0x12);
    const FIN_ACK: TcpFlags = TcpFlags(0x11);
    const RST: TcpFlags = TcpFlags(0x04);

    fn walk(start: TcpState, steps: &[(Event, TcpFlags, TcpState)]) {
        let mut state = start;
        for (step, (event, flags, expected)) in steps.iter().enumerate() {
            state = next(state, *event, *flags, Tables::Normal);
            assert_eq!(state, *expected, "step {step}");
        }
    }

    #[test]
    fn a_nat_conversation_as_the_kernel_lists_it() {
        use Event::{Input, Output};
        walk(
            NO,
            &[
                (Input, SYN, SR),
                (Output, SYN_ACK, SR),
                (Input, ACK, ES),
                (Input, FIN_ACK, CW),
                (Output, ACK, CW),
                (Output, FIN_ACK, TW),
                (Input, ACK, TW),
            ],
        );
        walk(ES, &[(Output, FIN_ACK, FW), (Input, FIN_ACK, TW)]);
        walk(ES, &[(Output, RST, CL)]);
        walk(SR, &[(Output, RST, CL)]);
    }

    #[test]
    fn a_client_reset_leaves_a_half_open_conn() {
        walk(SR, &[(Event::Input, RST, SR), (Event::InputOnly, RST, SR)]);
    }

    #[test]
    fn one_way_conns_end_in_fin_wait() {
        use Event::InputOnly;
        walk(NO, &[(InputOnly, SYN, SR), (InputOnly, ACK, ES), (InputOnly, FIN_ACK, FW), (InputOnly, ACK, FW)]);
    }

    #[test]
    fn a_segment_without_flags_closes() {
        walk(ES, &[(Event::Input, TcpFlags(0), CL)]);
    }
}
