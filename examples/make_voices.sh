#!/usr/bin/env bash
# Makes the recordings of this folder again, from Debian's speech synthesizers:
#
#   examples/make_voices.sh [FOLDER]      (without FOLDER: this folder)
#
# Debian 12 packages. From main:
#   apt-get install --no-install-recommends flite festival festvox-kdlpc16k sox
# From non-free (redistributable, but without what the voices were built from):
#   apt-get install --no-install-recommends rhvoice rhvoice-english rhvoice-russian libttspico-utils
#
# Each clip: the engine's WAV, resampled to 16 kHz, the silence at both ends
# cut to 50 ms, peak at -3 dBFS, 16 bits without dither (so that a second run
# with the same package versions gives the same bytes).
set -eu
export LC_ALL=C.UTF-8

out=${1:-$(dirname "$0")}
mkdir -p "$out"
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT

# One sentence with one engine: VOICE TEXT -> $raw/raw.wav
flite_say() { flite -voice "$1" -t "$2" -o "$raw/raw.wav"; }
festival_say() { printf '%s\n' "$2" | text2wave -eval "(voice_$1)" -o "$raw/raw.wav"; }
rhvoice_say() { printf '%s\n' "$2" | RHVoice-test -p "$1" -o "$raw/raw.wav"; }
pico_say() { pico2wave -l "$1" -w "$raw/raw.wav" "$2"; }

# NAME ENGINE VOICE SENTENCE...  -> $out/NAME_1.wav, NAME_2.wav, ...
speaker() {
    local name=$1 engine=$2 voice=$3 i=0 text
    shift 3
    for text in "$@"; do
        i=$((i + 1))
        rm -f "$raw/raw.wav"
        "${engine}_say" "$voice" "$text"
        sox -D "$raw/raw.wav" -b 16 -c 1 "$out/${name}_$i.wav" \
            gain -6 rate -v 16000 \
            silence 1 0.02 -50d reverse silence 1 0.02 -50d reverse \
            gain -n -3 pad 0.05 0.05
    done
}

# Enrolled by the demo.

speaker ana rhvoice Anna \
    "Мы оставили велосипеды возле старого забора." \
    "Завтра утром моя сестра принесёт тёплый хлеб." \
    "За окном с самого утра тихо падает первый снег." \
    "Рыжий кот весь день спал на мягком синем кресле."

speaker ben rhvoice Bdl \
    "The harbour was quiet after the fishing boats had left." \
    "My brother keeps his tools in a box under the stairs." \
    "It took us nearly an hour to find the right street." \
    "There is fresh coffee in the kitchen if you would like some."

speaker eva pico en-GB \
    "The gardener put his gloves on the wall and sat down." \
    "Could you tell me when the next ferry leaves the island?" \
    "An old map of the county hangs above the fireplace." \
    "I forgot to water the plants on the balcony this week."

speaker kal flite kal16 \
    "A cold wind came down from the hills before sunrise." \
    "She wrote the telephone number on the back of an envelope." \
    "The library closes early on the last Friday of March." \
    "Nobody noticed that the clock in the hall had stopped."

speaker rms flite rms \
    "We carried the heavy table through the narrow doorway." \
    "The river was so low that children walked across it." \
    "I will call you as soon as the parcel arrives." \
    "Two painters were working on the roof of the school."

speaker slt flite slt \
    "Yesterday the market was full of ripe yellow plums." \
    "He always reads the last page of a book before the first." \
    "Turn left at the bridge and follow the road to the mill." \
    "Our neighbours have a dog that is afraid of thunder."

# Not enrolled.

speaker stranger festival ked_diphone \
    "The museum has a model of the old town and its wall." \
    "You can borrow my umbrella until the rain is over." \
    "A small lamp was burning in the window of the cottage." \
    "They repaired the old engine with a piece of copper wire."

speaker visitor pico fr-FR \
    "Le facteur est passé de bonne heure ce matin avec deux grands colis." \
    "Nous avons trouvé beaucoup de champignons dans la forêt près du village." \
    "Ma grand-mère habite une petite maison blanche au bord du canal." \
    "Il reste encore un peu de soupe aux légumes et du pain pour ce soir."
