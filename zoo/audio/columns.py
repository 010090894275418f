"""By which names tables have recordings, what is said in them, and by whom; the first that a table has counts."""

AUDIO = ("audio", "file_name", "path", "file", "filename", "audio_path", "audio_filepath", "audio_file", "wav")
TEXT = ("text", "transcription", "transcript", "sentence", "normalized_text", "raw_text", "transcripts")
SPEAKER = ("speaker", "speaker_id", "client_id", "spk_id")
"""Only proposed: zoo.SpeechData is told with group_column."""
