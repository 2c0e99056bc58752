//! Waiting for a store that is away: what must be written or read in the end is asked for until there is an answer.

use std::time::Duration;

use super::StoreError;

/// Asks until the store answers: `until_it_answers!(pause, "what waits", store.ask(…))`. The question is put again after
/// each `pause`, with a warning that names what waits. Its value is the answer, or an error that no repetition can mend.
///
/// A macro, since the futures of closures that borrow cannot be sent to another thread.
macro_rules! until_it_answers {
    ($pause:expr, $what:expr, $ask:expr) => {
        loop {
            if let Some(answer) = $crate::store::patience::answered($pause, $what, $ask.await).await {
                break answer;
            }
        }
    };
}
pub(crate) use until_it_answers;

/// Takes what came of asking. `None`: the store was away, and the pause is over.
pub async fn answered<T>(
    pause: Duration,
    what: &'static str,
    answer: Result<T, StoreError>,
) -> Option<Result<T, StoreError>> {
    match answer {
        Err(error) if error.is_away() => {
            tracing::warn!(what, %error, "the store does not answer; it is asked again");
            tokio::time::sleep(pause).await;
            None
        }
        answer => Some(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_asked_again_and_a_refusal_is_an_answer() {
        let mut asked = 0;
        let answer = until_it_answers!(Duration::from_secs(1), "a test", async {
            asked += 1;
            if asked < 3 { Err(StoreError::Away("no answer".to_owned())) } else { Ok(asked) }
        });
        assert_eq!(answer.unwrap(), 3);
        let refused = || StoreError::Refused("a constraint".to_owned());
        let answer = until_it_answers!(Duration::from_secs(1), "a test", async { Err::<(), _>(refused()) });
        assert!(matches!(answer, Err(StoreError::Refused(_))));
    }
}
