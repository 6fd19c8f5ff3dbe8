//! Text to compress: messages like those of a market's feed, the same in every run.

const SYMBOLS: [&str; 5] = ["AAPL", "MSFT", "GOOG", "AMZN", "TSLA"];
/// Room for one more item and the end.
const SPARE: usize = 80;

/// Returns JSON of exactly `size` octets; spaces after its end make up for what is missing.
pub fn message(size: usize, seed: u32) -> Vec<u8> {
    let mut text = format!(r#"{{"type":"update","seq":{seed},"items":["#);
    let (mut state, mut comma) = (seed, "");
    while text.len() + SPARE < size {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
        let symbol = SYMBOLS[(state >> 16) as usize % SYMBOLS.len()];
        let (cents, volume) = (10_000 + state % 40_000, (state >> 8) % 10_000);
        let side = if state & 1 << 20 == 0 { "sell" } else { "buy" };
        text += &format!(
            r#"{comma}{{"symbol":"{symbol}","price":{}.{:02},"volume":{volume},"side":"{side}"}}"#,
            cents / 100,
            cents % 100
        );
        comma = ",";
    }
    let mut text = (text + "]}").into_bytes();
    text.resize(size, b' ');
    text
}
