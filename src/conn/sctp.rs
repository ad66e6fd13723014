//! SCTP as IPVS watches it: three tables over the type of the first chunk (RFC 9260 3.2).
//!
//! A cookie that comes with an abort behind it is an abort. Never validates tags or sequence numbers.

use super::event::Event;

/// States, numbered as in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SctpState {
    /// Before the first chunk.
    None,
    /// INIT seen once.
    Init1,
    /// INIT seen again.
    Init,
    /// The cookie was sent to the client.
    CookieSent,
    /// The client returned the cookie.
    CookieReplied,
    /// The real server waits for a cookie.
    CookieWait,
    /// A cookie crossed.
    Cookie,
    /// The real server returned a cookie.
    CookieEchoed,
    /// Both sides have spoken.
    Established,
    /// The real server wants to finish.
    ShutdownSent,
    /// The client wants to finish.
    ShutdownReceived,
    /// The real server has agreed to finish.
    ShutdownAckSent,
    /// Aborted while opening.
    Rejected,
    /// Over.
    Closed,
}

use SctpState::{
    Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS, CookieWait as CW,
    Established as ES, Init as IN, Init1 as I1, None as NO, Rejected as RJ, ShutdownAckSent as SA,
    ShutdownReceived as SR, ShutdownSent as SS,
};

/// Rows: the events below; columns: the present state in the order of `SctpState`.
type Table = [[SctpState; 14]; 10];

const INPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

const OUTPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
    [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
    [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

const INPUT_ONLY: Table = [
    [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
    [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

impl SctpState {
    /// True before the association is established.
    pub fn opens(self) -> bool {
        use SctpState::{Cookie, CookieEchoed, CookieReplied, CookieSent, CookieWait, Init, Init1, None};
        matches!(self, None | Init1 | Init | CookieSent | CookieReplied | CookieWait | Cookie | CookieEchoed)
    }

    const ALL: [SctpState; 14] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL];

    /// The state with a number; a number that none has is `None`.
    pub fn from_number(number: u8) -> SctpState {
        SctpState::ALL.get(usize::from(number)).copied().unwrap_or(NO)
    }

    /// Name in listings.
    pub fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            I1 => "INIT1",
            IN => "INIT",
            CS => "C-SENT",
            CR => "C-REPLIED",
            CW => "C-WAIT",
            CO => "COOKIE",
            CE => "C-ECHOED",
            ES => "ESTABLISHED",
            SS => "S-SENT",
            SR => "S-RECEIVED",
            SA => "S-ACK-SENT",
            RJ => "REJECTED",
            CL => "CLOSED",
        }
    }

    /// Seconds it lasts.
    pub fn timeout(self) -> u32 {
        match self {
            NO => 2,
            I1 | RJ => 4,
            ES => 900,
            IN | CS | CR | CW | CO | CE | SS | SR | SA | CL => 61,
        }
    }
}

/// The state after a packet whose (effective) first chunk is of type `chunk`.
pub(super) fn next(state: SctpState, event: Event, chunk: u8) -> SctpState {
    let row = match chunk {
        1 => 1,
        2 => 2,
        10 => 3,
        11 => 4,
        7 => 5,
        8 => 6,
        14 => 7,
        9 => 8,
        6 => 9,
        // DATA, SACK, HEARTBEAT, its ACK, ECNE, CWR and types we do not know.
        _ => 0,
    };
    let table = match event {
        Event::Input => &INPUT,
        Event::Output => &OUTPUT,
        Event::InputOnly => &INPUT_ONLY,
    };
    table[row][state as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_association_opens_and_closes() {
        use Event::{Input, Output};
        let steps = [
            (Input, 1, I1),
            (Output, 2, CS),
            (Input, 10, CR),
            (Output, 11, ES),
            (Input, 0, ES),
            (Input, 7, SR),
            (Output, 8, SA),
            (Input, 14, CL),
        ];
        let mut state = NO;
        for (event, chunk, expected) in steps {
            state = next(state, event, chunk);
            assert_eq!(state, expected, "after chunk {chunk}");
        }
    }
}
