//! Who hears whom.

use crate::limits::MIX_MEMBERS_MAX;

/// Members of a mix by their number: a row of the matrix, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hears(u8);

const _: () = assert!(MIX_MEMBERS_MAX <= u8::BITS as usize);

impl Hears {
    /// Adds member `n`.
    pub fn add(&mut self, n: usize) {
        if n < MIX_MEMBERS_MAX {
            self.0 |= 1 << n;
        }
    }

    /// Member `n` is among them.
    #[must_use]
    pub fn has(self, n: usize) -> bool {
        n < MIX_MEMBERS_MAX && self.0 & (1 << n) != 0
    }

    /// Nobody is.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MIX_MEMBERS_MAX).filter(move |&n| self.has(n))
    }

    /// The one member, if it is just one.
    #[must_use]
    pub fn only(self) -> Option<usize> {
        (self.0.count_ones() == 1).then(|| self.0.trailing_zeros() as usize)
    }

    /// Takes member `n` out; those after it move up by one.
    fn close_gap(&mut self, n: usize) {
        let below = (1u8 << n) - 1;
        self.0 = (self.0 & below) | ((self.0 >> 1) & !below);
    }
}

/// Why rows are no mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// More than `MIX_MEMBERS_MAX` rows.
    #[error("a mix has at most 8 members")]
    TooMany,
    /// Two rows for one member.
    #[error("a member of the mix has two rows")]
    Twice,
    /// A row names somebody without a row.
    #[error("a member of the mix hears somebody who has no row of their own")]
    Stranger,
}

/// A mix: its members, at most `MIX_MEMBERS_MAX`, and the row of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix<Id> {
    members: Vec<(Id, Hears)>,
}

impl<Id: Copy + Eq> Matrix<Id> {
    /// A matrix of `(member, whom it hears)`. Nobody hears themselves, whatever their row says.
    ///
    /// # Errors
    /// See [`MatrixError`].
    pub fn new<'a>(rows: impl IntoIterator<Item = (Id, &'a [Id])> + Clone) -> Result<Self, MatrixError>
    where
        Id: 'a,
    {
        let mut members: Vec<(Id, Hears)> = Vec::new();
        for (id, _) in rows.clone() {
            if members.len() == MIX_MEMBERS_MAX {
                return Err(MatrixError::TooMany);
            }
            if members.iter().any(|(member, _)| *member == id) {
                return Err(MatrixError::Twice);
            }
            members.push((id, Hears::default()));
        }
        for (n, (_, hears)) in rows.into_iter().enumerate() {
            for id in hears {
                let other = members.iter().position(|(member, _)| member == id).ok_or(MatrixError::Stranger)?;
                if other != n {
                    members[n].1.add(other);
                }
            }
        }
        Ok(Self { members })
    }

    /// Members by their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Nobody is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Member `n`.
    #[must_use]
    pub fn member(&self, n: usize) -> Option<Id> {
        self.members.get(n).map(|(id, _)| *id)
    }

    /// The number of a member.
    #[must_use]
    pub fn number(&self, id: Id) -> Option<usize> {
        self.members.iter().position(|(member, _)| *member == id)
    }

    /// Whom member `n` hears.
    #[must_use]
    pub fn row(&self, n: usize) -> Hears {
        self.members.get(n).map_or(Hears::default(), |(_, hears)| *hears)
    }

    /// Takes a member out of all rows.
    pub fn remove(&mut self, id: Id) {
        let Some(n) = self.number(id) else { return };
        self.members.remove(n);
        for (_, hears) in &mut self.members {
            hears.close_gap(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<'a>(rows: &'a [(u8, &'a [u8])]) -> Result<Matrix<u8>, MatrixError> {
        Matrix::new(rows.iter().copied())
    }

    fn heard(matrix: &Matrix<u8>, id: u8) -> Vec<u8> {
        let row = matrix.row(matrix.number(id).unwrap());
        row.iter().map(|n| matrix.member(n).unwrap()).collect()
    }

    #[test]
    fn rows_say_who_hears_whom_and_nobody_hears_themselves() {
        let whisper = rows(&[(1, &[2]), (2, &[1, 3, 2]), (3, &[1, 2])]).unwrap();
        assert_eq!(heard(&whisper, 1), [2]);
        assert_eq!(heard(&whisper, 2), [1, 3]);
        assert_eq!(heard(&whisper, 3), [1, 2]);
        assert_eq!((whisper.row(0).only(), whisper.row(1).only()), (Some(1), None));
    }

    #[test]
    fn who_leaves_is_gone_from_every_row() {
        let all: Vec<u8> = (0..8).collect();
        let rows: Vec<(u8, &[u8])> = all.iter().map(|&n| (n, all.as_slice())).collect();
        let mut matrix = Matrix::new(rows.iter().copied()).unwrap();
        for gone in [3, 0, 7, 5] {
            matrix.remove(gone);
            matrix.remove(gone);
            for n in 0..matrix.len() {
                let id = matrix.member(n).unwrap();
                let left = heard(&matrix, id);
                assert!(!left.contains(&gone) && !left.contains(&id), "{id} hears {left:?}");
                assert_eq!(left.len(), matrix.len() - 1);
            }
        }
        assert_eq!(matrix.len(), 4);
    }

    #[test]
    fn what_is_no_mix_is_named() {
        let nine: Vec<(u8, &[u8])> = (0..9).map(|n| (n, [].as_slice())).collect();
        assert_eq!(rows(&nine), Err(MatrixError::TooMany));
        assert_eq!(rows(&[(1, &[]), (1, &[])]), Err(MatrixError::Twice));
        assert_eq!(rows(&[(1, &[2])]), Err(MatrixError::Stranger));
        assert!(rows(&[]).unwrap().is_empty());
    }
}
