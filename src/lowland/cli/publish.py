"""The model of an experiment on the Hugging Face hub, where the user asks for it."""

from __future__ import annotations

import shlex
from pathlib import Path

from lowland.errors import UserError


def push(model: Path, name: str) -> str:
    """Uploads a model's directory to a repository such as `me/reviews`, private if new; gives its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        made = HfApi().create_repo(name, private=True, exist_ok=True)
        HfApi().upload_folder(
            repo_id=made.repo_id, folder_path=model, commit_message="Add the model of a comparison"
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"--push-to-hub {name}: {reason}. The model lies in {model}; give the command again, or type: "
            f"hf upload {shlex.join([name, str(model)])}"
        ) from None
    return str(made)
