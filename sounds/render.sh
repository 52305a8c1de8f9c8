#!/usr/bin/env bash
# 把 prompts.toml 里的文字合成为提示音。Renders the texts of prompts.toml to WAVs.
#
#   sounds/render.sh [ID…]     all prompts, or only these
#
# Needs espeak-ng and sox (Debian packages of the same names). Writes
# sounds/zh-CN/ID.wav and sounds/en/ID.wav: 8 kHz, mono, 16-bit PCM, trimmed,
# speech at about -20 dBFS RMS. The same texts give the same files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for tool in espeak-ng sox; do
  command -v "$tool" >/dev/null || {
    echo "缺少 $tool:apt-get install espeak-ng sox / $tool is missing" >&2
    exit 1
  }
done

SPEED_ZH=205          # words per minute; the greeting must fit into 6 s
SPEED_EN=165
SPEECH_DBFS=-20
MUSIC_DBFS=-30
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A telephone passes 300–3400 Hz: what is below only costs level.
level() { # in.wav out.wav dbfs
  local rms gain
  rms=$(sox "$1" -n gain -6 highpass 150 gain 6 stats 2>&1 | awk '/^RMS lev dB/ {print $4}')
  gain=$(awk -v have="$rms" -v want="$3" 'BEGIN {printf "%.2f", want - have + 8.5}')
  # 6 dB of room for the filters, a limiter (it costs 1.5 dB), 1 dB below full scale.
  sox -R -D "$1" -r 8000 -c 1 -b 16 -e signed-integer "$2" \
    gain -6 highpass 150 rate -h 8000 gain -l "$gain" gain -1
}

speak() { # voice speed text out.wav
  espeak-ng -v "$1" -s "$2" -w "$work/raw.wav" -- "$3" 2>/dev/null
  # Cut the silence at both ends, then leave room between prompts played in a row.
  sox -R "$work/raw.wav" "$work/cut.wav" \
    silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse
  sox -R "$work/cut.wav" "$work/padded.wav" fade 0.005 -0 0.005 pad 0.02 0.10
  level "$work/padded.wav" "$4" "$SPEECH_DBFS"
}

# Slow broken chords of pure tones, made here: nobody's music, nobody's rights.
music() { # out.wav
  local chord note i=0 parts=()
  for chord in "C4 E4 G4 C5" "A3 C4 E4 A4" "F3 A3 C4 F4" "G3 B3 D4 G4" \
               "E3 G3 B3 E4" "A3 C4 E4 C5" "D3 F3 A3 D4" "G3 B3 D4 B4"; do
    local delay=0 voices=()
    for note in $chord; do
      sox -R -n -r 8000 -c 1 -b 16 "$work/n$i-$delay.wav" \
        synth 2.6 sine "$(frequency "$note")" fade l 0.04 2.6 2.3 pad "0.$delay" gain -14
      voices+=("$work/n$i-$delay.wav")
      delay=$((delay + 3))
    done
    sox -R -m "${voices[@]}" "$work/chord$i.wav" trim 0 3 pad 0 0.2 trim 0 3
    parts+=("$work/chord$i.wav")
    i=$((i + 1))
  done
  sox -R "${parts[@]}" "$work/music.wav" lowpass 1500
  level "$work/music.wav" "$1" "$MUSIC_DBFS"
}

frequency() { # note name → Hz, equal temperament, A4 = 440 Hz
  awk -v note="$1" 'BEGIN {
    step = index("C D EF G A B", substr(note, 1, 1)) - 1
    printf "%.2f", 440 * 2 ^ ((step - 9 + 12 * (substr(note, 2) - 4)) / 12)
  }'
}

tone() { # kind out.wav
  case $1 in
    music) music "$2" ;;
    beep) sox -R -D -n -r 8000 -c 1 -b 16 "$2" synth 0.4 sine 1000 gain -17 fade 0.01 0.4 0.01 pad 0.05 0.05 ;;
    silence) sox -R -D -n -r 8000 -c 1 -b 16 "$2" trim 0 0.1 ;;
    *) echo "prompts.toml: tone = \"$1\" 未知 / is unknown" >&2; exit 1 ;;
  esac
}

# The file is simple on purpose: [id] and key = "text", one to a line.
fields() {
  awk '
    function out() { if (id != "") printf "%s\037%s\037%s\037%s\037%s\037%s\n", id, v["zh"], v["en"], v["voice"], v["tone"], v["tone_en"] }
    /^\[/ { out(); delete v; id = substr($0, 2, index($0, "]") - 2); next }
    /^[a-z_]+ *= *"/ { key = $1; text = $0; sub(/^[^"]*"/, "", text); sub(/"[ \t]*(#.*)?$/, "", text); v[key] = text }
    END { out() }' prompts.toml
}

# Each digit for itself (110 is 一一零 on a telephone), and pinyin for the words
# whose characters espeak-ng reads in their other way.
for_espeak() {
  sed 's/0/零/g; s/1/一/g; s/2/二/g; s/3/三/g; s/4/四/g; s/5/五/g; s/6/六/g; s/7/七/g; s/8/八/g; s/9/九/g
       s/重新/ chong2 xin1 /g; s/地点/ di4 dian3 /g'
}

wanted() { # id ids…
  local id=$1; shift
  [ $# -eq 0 ] && return 0
  local want
  for want in "$@"; do [ "$want" = "$id" ] && return 0; done
  return 1
}

mkdir -p zh-CN en
total=$(fields | wc -l)
n=0
while IFS=$'\037' read -r id zh en voice tone tone_en; do
  n=$((n + 1))
  wanted "$id" "$@" || continue
  [ -t 1 ] && printf '\r[%d/%d] %-32s' "$n" "$total" "$id"
  if [ -n "$tone" ]; then
    tone "$tone" "zh-CN/$id.wav"
  elif [ "$voice" = en ]; then
    speak en-us "$SPEED_EN" "$zh" "zh-CN/$id.wav"
  else
    speak cmn-latn-pinyin "$SPEED_ZH" "$(for_espeak <<<"$zh")" "zh-CN/$id.wav"
  fi
  if [ -n "$tone$tone_en" ]; then
    tone "${tone_en:-$tone}" "en/$id.wav"
  else
    speak en-us "$SPEED_EN" "$en" "en/$id.wav"
  fi
done < <(fields)
[ -t 1 ] && printf '\r%-50s\r' ""
echo "完成:$(find zh-CN -name '*.wav' | wc -l) 个中文、$(find en -name '*.wav' | wc -l) 个英文提示音,共 $(du -ch zh-CN en | tail -1 | cut -f1)。/ Done."
