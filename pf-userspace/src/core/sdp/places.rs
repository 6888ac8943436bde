//! m-lines of one dialog, and where they stand in a session that several dialogs share.

use sdp_types::Media;

use super::{
    Sdp,
    legs::{is_direction, is_transport, passed, rejected},
};

impl Sdp {
    /// The m-lines at these places alone, in this order; a place without one gives a rejected line.
    #[must_use]
    pub fn picking(&self, places: &[Option<usize>]) -> Sdp {
        let line = |place: &Option<usize>| place.and_then(|at| self.0.medias.get(at).cloned());
        let medias = places.iter().map(|place| line(place).unwrap_or_else(nothing)).collect();
        let mut session = self.0.clone();
        session.medias = medias;
        Sdp(session)
    }

    /// The other way round: the m-lines go to these places, in order; what has no place is left out, and what is
    /// between them is rejected.
    #[must_use]
    pub fn spread(&self, places: &[Option<usize>]) -> Sdp {
        let count = places.iter().flatten().map(|place| place + 1).max().unwrap_or(0);
        let mut medias = vec![nothing(); count];
        for (media, place) in self.0.medias.iter().zip(places) {
            if let Some(there) = place.and_then(|place| medias.get_mut(place)) {
                there.clone_from(media);
            }
        }
        let mut session = self.0.clone();
        session.medias = medias;
        Sdp(session)
    }

    /// The same with these m-lines of `other` in the place of its own. Every line says for itself what its session
    /// part said for it.
    #[must_use]
    pub fn with_lines(&self, other: &Sdp, lines: &[usize]) -> Sdp {
        let mut medias: Vec<Media> = (0..self.line_count()).map(|index| self.whole_line(index)).collect();
        for index in lines.iter().filter(|index| **index < other.line_count()) {
            if medias.len() <= *index {
                medias.resize(index + 1, nothing());
            }
            medias[*index] = other.whole_line(*index);
        }
        let mut session = self.0.clone();
        session.attributes.retain(|attribute| !is_transport(attribute) && !is_direction(attribute));
        session.medias = medias;
        Sdp(session)
    }

    /// Do both say the same of that m-line?
    pub fn same_line(&self, other: &Sdp, index: usize) -> bool {
        match (self.0.medias.get(index), other.0.medias.get(index)) {
            (Some(a), Some(b)) if a.port == 0 || b.port == 0 => a.port == b.port,
            (Some(_), Some(_)) => self.whole_line(index) == other.whole_line(index),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    fn whole_line(&self, index: usize) -> Media {
        match self.0.medias.get(index) {
            Some(media) if media.port == 0 => rejected(media),
            Some(media) => passed(&self.0, media),
            None => nothing(),
        }
    }
}

/// A rejected line of which nothing else is known.
fn nothing() -> Media {
    Media {
        media: "message".to_owned(),
        port: 0,
        num_ports: None,
        proto: "TCP/MSRP".to_owned(),
        fmt: "*".to_owned(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(lines: &str) -> Sdp {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
        Sdp::parse(format!("{head}{lines}").as_bytes()).unwrap()
    }

    fn line(port: u16, id: &str) -> String {
        format!("m=message {port} TCP/MSRP *\r\na=path:msrp://192.0.2.1:{port}/{id};tcp\r\n")
    }

    fn ports(sdp: &Sdp) -> Vec<u16> {
        sdp.0.medias.iter().map(|media| media.port).collect()
    }

    #[test]
    fn what_is_picked_is_spread_to_where_it_was() {
        let whole = sdp(&[line(1, "a"), line(2, "b"), line(3, "c")].concat());
        let places = [Some(2), None, Some(0)];
        let picked = whole.picking(&places);
        assert_eq!(ports(&picked), [3, 0, 1]);
        assert_eq!(ports(&picked.spread(&places)), [1, 0, 3]);
        assert_eq!(ports(&picked.spread(&[])), [0_u16; 0]);
        assert_eq!(ports(&whole.picking(&[Some(9)])), [0]);
    }

    #[test]
    fn a_line_takes_along_what_its_session_part_says() {
        let mine = sdp(&format!("a=sendonly\r\n{}{}", line(1, "a"), line(2, "b")));
        let other = sdp(&[line(7, "x"), line(8, "y"), line(9, "z")].concat());
        let both = mine.with_lines(&other, &[1, 2, 5]);
        assert_eq!(ports(&both), [1, 8, 9]);
        let directions: Vec<_> = both.msrp_lines().iter().map(|line| line.direction.receives()).collect();
        assert_eq!(directions, [false, true, true]);
    }

    #[test]
    fn lines_are_compared_with_what_holds_for_them() {
        let one = sdp(&format!("a=sendonly\r\n{}{}", line(1, "a"), line(0, "b")));
        let two = sdp(&format!("{}a=sendonly\r\n{}", line(1, "a"), line(0, "c")));
        assert!(one.same_line(&two, 0) && one.same_line(&two, 1) && one.same_line(&two, 2));
        assert!(!one.same_line(&sdp(&line(1, "a")), 0) && !one.same_line(&sdp(&line(1, "a")), 1));
    }
}
